"""Postfix's maps as they are changed in place; what Postfix then answers is asked in tests/mail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from mailhost.maps import MapError, Maps
from mailhost.paths import Paths

MANY = {f"box{n}@example.com": f"box{n}@example.com" for n in range(5000)}


@pytest.fixture
def maps(tmp_path: Path) -> Maps:
    """Maps of a server on which postmap has made an empty map of mailboxes."""
    paths = Paths(tmp_path)
    paths.maps.mkdir(parents=True)
    with lmdb.open(str(paths.maps / "mailboxes.lmdb"), subdir=False, lock=False) as made:
        made.sync()
    return Maps(paths)


def _held(maps: Maps) -> dict[str, str]:
    """Return the keys and values of the map, without the NUL that ends each."""
    file = str(maps._file("mailboxes"))
    with (
        lmdb.open(file, subdir=False, create=False, readonly=True, lock=False) as opened,
        opened.begin() as transaction,
    ):
        return {
            bytes(key).decode().removesuffix("\0"): bytes(value).decode().removesuffix("\0")
            for key, value in transaction.cursor()
        }


def _may_be_read(maps: Maps) -> bool:
    """Say whether another process gets the lock by which Postfix looks something up (fcntl(2))."""
    program = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    try:\n"
        "        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
        "    except BlockingIOError:\n"
        "        sys.exit(3)\n"
    )
    asked = subprocess.run([sys.executable, "-c", program, maps._file("mailboxes")], check=False)
    assert asked.returncode in (0, 3)
    return asked.returncode == 0


def test_nothing_is_looked_up_in_the_midst_of_a_change(maps: Maps) -> None:
    # Postfix's readers are not on LMDB's record, so that its pages under them would be reused.
    with maps._changing("mailboxes", 1) as map_:
        map_.put(b"new@example.com\0", b"new@example.com\0")
        assert not _may_be_read(maps)
    assert _may_be_read(maps)
    assert list(_held(maps)) == ["new@example.com"]


def test_thousands_come_and_go(maps: Maps) -> None:
    maps.put("mailboxes", MANY.items())
    assert _held(maps) == MANY
    maps.delete("mailboxes", [*list(MANY)[1:], "never@example.com"])
    assert _held(maps) == {"box0@example.com": "box0@example.com"}


def test_one_bad_line_and_nothing_is_written(maps: Maps) -> None:
    with pytest.raises(MapError, match="not only lines of the map mailboxes"):
        maps.put("mailboxes", [*MANY.items(), ("a@example.com", "|cmd")])
    assert _held(maps) == {}


def _give_up_half_way(maps: Maps) -> None:
    with maps._changing("mailboxes", 1) as map_:
        map_.put(b"half@example.com\0", b"half@example.com\0")
        raise InterruptedError


def test_what_ends_half_way_changes_nothing(maps: Maps) -> None:
    maps.put("mailboxes", MANY.items())
    with pytest.raises(MapError):
        _give_up_half_way(maps)
    assert _held(maps) == MANY


def test_map_grows_as_far_as_it_has_to(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailhost.maps._ROOM", 1 << 16)
    for turn in range(20):
        maps.put("mailboxes", [(f"{turn}.{key}", value) for key, value in MANY.items()])
    assert len(_held(maps)) == 20 * len(MANY)


def test_map_that_is_missing_or_broken_is_named(maps: Maps) -> None:
    with pytest.raises(MapError, match=r"the map aliases could not be changed: .*No such file"):
        maps.put("aliases", [("info@example.com", "x@example.org")])
    maps._file("mailboxes").write_bytes(b"no map at all" * 1000)
    with pytest.raises(MapError, match="the map mailboxes could not be changed"):
        maps.put("mailboxes", MANY.items())
