"""The Makefile's commands are the ones that people are told of."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGETS = [
    *("run", "test", "check", "soak", "screenshots", "bench"),
    *("clean", "fmt", "lock", "messages", "help"),
]


def test_help_lists_every_command_in_one_line_each() -> None:
    text = subprocess.check_output(["make", "--no-print-directory", "help"], cwd=ROOT, text=True)
    assert re.findall(r"^  make (\w+) +\S.{10,}$", text, flags=re.MULTILINE) == TARGETS


def test_ci_runs_what_a_person_would() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_no_command_of_the_makefile_contains_an_error() -> None:
    for target in TARGETS:
        shown = subprocess.check_output(["make", "-n", target], cwd=ROOT)
        subprocess.run(["bash", "-n"], input=shown, check=True)
