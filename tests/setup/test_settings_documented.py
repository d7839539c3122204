"""`.env.example` explains every setting there is, and none that there is not."""

import ast
import re
from collections import Counter
from pathlib import Path

from standalone.place import SWITCHES, Ports, setting

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()
LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def read_by_settings() -> set[str]:
    """Return the names that settings.py asks `env` for."""
    tree = ast.parse((ROOT / "plusmail/settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    asked = [call.args[0] for call in calls if re.fullmatch(r"env(\.\w+)?", ast.unparse(call.func))]
    return {str(name.value) for name in asked if isinstance(name, ast.Constant)}


def test_every_setting_is_explained_and_every_explanation_is_of_a_setting() -> None:
    ports = {setting(name) for name in Ports().by_name(with_servers=True)}
    assert {name for name, _ in LINE.findall(EXAMPLE)} == read_by_settings() | ports | {*SWITCHES}


def test_no_setting_is_explained_twice() -> None:
    assert max(Counter(name for name, _ in LINE.findall(EXAMPLE)).values()) == 1


def test_every_setting_has_its_comment_above_it() -> None:
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        if LINE.match(line):
            above = lines[number - 1]
            assert above.startswith("# ") or LINE.match(above), line


def test_the_example_holds_no_secret() -> None:
    assert dict(LINE.findall(EXAMPLE))["SECRET_KEY"] == ""


def test_port_defaults_are_the_ones_in_use() -> None:
    explained = dict(LINE.findall(EXAMPLE))
    for name, port in Ports().by_name(with_servers=True).items():
        assert explained[setting(name)] == str(port)
