"""Programs that hang are ended, with all that they started, and nobody waits for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailhost import dovecot, programs
from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.maps import MapError, Maps
from mailhost.paths import Paths
from mailhost.programs import TimedOut
from tests.servers import wait_for

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A doveadm and a postmap that print a line and then hang in a child of theirs."""
    for name in ("doveadm", "postmap"):
        program = tmp_path / name
        program.write_text(
            f"#!/bin/sh\necho 'one\tline here'\n/bin/sleep 60 &\necho $! >>{tmp_path}/pids\nwait\n"
        )
        program.chmod(0o755)
    (tmp_path / "maps").mkdir()
    monkeypatch.setitem(programs.ENVIRONMENT, "PATH", f"{tmp_path}:/usr/bin:/bin")
    # Long enough for a shell to start, even on a busy machine.
    monkeypatch.setattr(programs, "PATIENCE", 1.0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    yield tmp_path
    children = [int(text) for text in (tmp_path / "pids").read_text().split()]
    assert children
    assert all(ends(pid) for pid in children)


def ends(pid: int) -> bool:
    """Say whether the process is gone; one that was killed goes when it is its turn."""
    return wait_for(lambda: not running(pid))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_program_gets_its_input_and_gives_its_answer() -> None:
    answer = programs.run(["sh", "-c", "cat; echo oops >&2; exit 3"], "a\nb\n")
    assert answer == programs.Answer(3, "a\nb\n", "oops")


def test_program_that_is_not_there_is_an_error_of_the_file_system() -> None:
    with pytest.raises(FileNotFoundError):
        programs.run(["no-such-program"])


def test_quick_program_is_not_waited_for_longer_than_it_takes() -> None:
    begun = time.monotonic()
    for _ in range(50):
        programs.run(["true"])
    assert time.monotonic() - begun < 2


def test_lines_come_as_they_are_written_and_the_rest_may_be_left() -> None:
    lines = programs.lines(["sh", "-c", "echo $$; printf 'b\\nc'; sleep 60"])
    pid = int(next(lines))
    assert running(pid)
    del lines
    assert ends(pid)


def test_more_rows_get_more_time() -> None:
    assert programs.patience(0) == 60
    assert programs.patience(1_000_000) > 1000


def test_hung_program_is_killed_and_named(hanging: Path) -> None:
    with pytest.raises(TimedOut, match="postmap did not end within 1 seconds"):
        programs.run(["postmap"])


def test_hung_postmap_is_a_map_error(hanging: Path) -> None:
    with pytest.raises(MapError, match="postmap did not end"):
        Maps(Paths(hanging)).rebuild("domains", ["example.com\texample.com\n"])


def test_hung_listing_of_a_map_is_a_map_error(hanging: Path) -> None:
    found = Maps(Paths(hanging)).contents("domains")
    assert next(found) == ("one", "line here")
    with pytest.raises(MapError, match="postmap did not end"):
        next(found)


def test_hung_postmap_frees_the_lock_it_held(hanging: Path) -> None:
    ours, theirs = os.pipe()
    maps = Maps(Paths(hanging))
    maps.keep = (theirs,)
    with pytest.raises(MapError):
        maps.rebuild("domains", ["example.com\texample.com\n"])
    os.close(theirs)
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_hung_doveadm_is_no_answer(hanging: Path) -> None:
    doveadm = Doveadm(Paths(hanging))
    with pytest.raises(NoAnswer, match="doveadm did not end"):
        doveadm.kick(["info"])
    with pytest.raises(NoAnswer, match="doveadm did not end"):
        dovecot.users(doveadm.ask_users(["info", "boss"]))
    assert not doveadm.alive(0.5)
