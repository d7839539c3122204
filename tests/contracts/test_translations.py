"""Everything there is to read is there in Japanese and English."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Formatter

import polib
import pytest

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted((ROOT / "locale").glob("*/LC_MESSAGES/*.po"))
LANGUAGES = {path.parts[-3] for path in CATALOGUES}
SOURCES = [
    "accounts",
    "bulk",
    "clientsettings",
    "forwarding",
    "history",
    "orders",
    "panel",
    "plusmail",
    "propagation",
    "quota",
    "remotemail",
    "tracing",
    "webmail",
    "mailuser",
    "templates",
]
PLACES = re.compile(r"%\((\w+)\)[sd]|%[sd%]")


@pytest.fixture(scope="module", params=CATALOGUES, ids=[path.parts[-3] for path in CATALOGUES])
def catalogue(request: pytest.FixtureRequest) -> polib.POFile:
    """Each catalogue; English is the source and needs none."""
    return polib.pofile(str(request.param))


def texts(entry: polib.POEntry) -> list[str]:
    """Return every form of a translation."""
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_japanese_is_there() -> None:
    assert "ja" in LANGUAGES


def test_nothing_is_missing_or_fuzzy(catalogue: polib.POFile) -> None:
    living = [entry for entry in catalogue if not entry.obsolete]
    assert living
    assert [entry.msgid for entry in living if entry.fuzzy or not all(texts(entry))] == []


def test_nothing_is_left_over(catalogue: polib.POFile) -> None:
    assert [entry.msgid for entry in catalogue.obsolete_entries()] == []


def test_translations_have_the_same_places_for_values(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        wanted = set(PLACES.findall(entry.msgid_plural or entry.msgid))
        for text in texts(entry):
            assert set(PLACES.findall(text)) <= wanted | set(PLACES.findall(entry.msgid)), text
            if not entry.msgid_plural:
                assert set(PLACES.findall(text)) == wanted, text
        assert list(Formatter().parse(entry.msgid.replace("{", "").replace("}", "")))


def test_compiled_catalogues_say_what_the_texts_say(catalogue: polib.POFile) -> None:
    path = Path(catalogue.fpath).with_suffix(".mo")
    if not path.exists():
        pytest.skip("not compiled: make compiled")
    compiled = {(entry.msgctxt, entry.msgid): texts(entry) for entry in polib.mofile(str(path))}
    assert compiled == {(entry.msgctxt, entry.msgid): texts(entry) for entry in catalogue}


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("xgettext"), reason="no gettext here")
def test_every_text_in_the_code_is_in_the_catalogues(tmp_path: Path) -> None:
    for name in [*SOURCES, "locale"]:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("manage.py", "tests/settings.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "mailhost", tmp_path / "mailhost")
    before = {path.parts[-3]: ids(path) for path in CATALOGUES}
    subprocess.run(
        [sys.executable, "manage.py", "makemessages", "--all", "--no-wrap", "--add-location=file"],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        check=True,
        capture_output=True,
    )
    for path in sorted((tmp_path / "locale").glob("*/LC_MESSAGES/*.po")):
        assert ids(path) == before[path.parts[-3]]


def ids(path: Path) -> set[tuple[str | None, str, str]]:
    """Return what a catalogue translates."""
    living = [entry for entry in polib.pofile(str(path)) if not entry.obsolete]
    return {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in living}
