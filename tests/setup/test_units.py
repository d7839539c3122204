"""The unit for systemd starts what `mailhost run` knows."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailhost.instance import SERVERS
from standalone.__main__ import OPEN_FILES

ROOT = Path(__file__).resolve().parents[2]
UNIT = (ROOT / "deploy/systemd/plusmail-SERVER@.service").read_text()


def test_unit_allows_the_open_files_that_dovecot_counts_on() -> None:
    assert f"\nLimitNOFILE={OPEN_FILES}\n" in UNIT


def test_documentation_names_every_server() -> None:
    assert f"for server in {' '.join(SERVERS)}; do" in (ROOT / "docs/operations.md").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
@pytest.mark.parametrize("server", SERVERS)
def test_systemd_reads_the_unit(tmp_path: Path, server: str) -> None:
    path = tmp_path / f"plusmail-{server}@mail1.example.jp.service"
    text = UNIT.replace("/srv/plusmail/.venv/bin/python", sys.executable)
    path.write_text(text.replace("/srv/plusmail", str(ROOT)))
    command = ["systemd-analyze", "verify", "--man=no", "--generators=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert str(path.name) not in done.stderr, done.stderr
