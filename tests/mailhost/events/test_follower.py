"""Each line once: over a log that is renamed, compressed, emptied; over ends and kills of ours."""

from __future__ import annotations

import gzip
import random
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mailhost.events import database, follower, logfiles, reading
from mailhost.events.database import KEPT, EventDatabase, Position
from mailhost.events.reading import EventsError
from tests.mailhost.events.logs import Log, catch_up, delivery, queued, removed
from tests.tracing.reports import event


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody write to a renamed file any more."""
    monkeypatch.setattr(follower, "GRACE", 0.0)


def to(name: str, queue_id: str = "4jbbSD6XWzzKL1K") -> str:
    return delivery(f"{name}@example.com", queue_id=queue_id)


def test_lines_are_read_as_they_come(log: Log) -> None:
    with log.follower() as reader:
        catch_up(reader)
        log.write(to("a"))
        catch_up(reader)
        log.write(to("b"), to("c"))
        catch_up(reader)
        assert reader.last_number() == 3
    assert log.recipients() == ["a", "b", "c"]


def test_first_start_begins_at_the_end(log: Log) -> None:
    """What was before has no year, and may be of long ago."""
    # As `init` makes it, however long before.
    EventDatabase(log.paths.events_db).begin(1_000)
    began = time.time()
    log.write(to("before"))
    log.write(to("half")[:40], end="")
    with log.follower() as reader:
        catch_up(reader)
        log.write(to("half")[40:], to("after"))
        catch_up(reader)
    assert log.recipients() == ["half", "after"]
    assert reading.read(log.paths.root).since >= began


def test_half_a_line_is_waited_for(log: Log) -> None:
    with log.follower() as reader:
        line = to("a")
        log.write(line[:70], end="")
        catch_up(reader)
        log.write(line[70:])
        catch_up(reader)
    assert log.recipients() == ["a"]


def test_restart_loses_and_doubles_nothing(log: Log) -> None:
    log.follow()
    log.write(queued("friend@outside.test"), to("a"))
    log.follow()
    # Nothing here was an event: the position may not be noted, and is read once more.
    log.write(queued("other@outside.test", "4jbbOTHER"))
    log.follow()
    log.write(to("b"), to("c", "4jbbOTHER"), removed())
    log.follow()
    log.follow()
    assert log.recipients() == ["a", "b", "c"]
    senders = [event.sender for event in log.events()]
    assert senders == ["friend@outside.test", "friend@outside.test", "other@outside.test"]


def test_sender_of_what_left_the_queue_is_forgotten(log: Log) -> None:
    log.follow()
    log.write(queued("friend@outside.test"), to("a"))
    log.follow()
    log.write(removed())
    log.follow()
    log.write(to("b"))
    log.follow()
    assert log.events()[-1].sender == ""


def test_kill_between_reading_and_writing_loses_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.follow()
    log.write(to("a"), to("b"))
    with monkeypatch.context() as patch:
        patch.setattr(EventDatabase, "keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.follow()
    log.follow()
    assert log.recipients() == ["a", "b"]


def interrupted(*_arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("running", [True, False])
def test_renamed_log_is_read_to_its_end(log: Log, running: bool) -> None:
    with log.follower() as reader:
        log.write(to("a"))
        catch_up(reader)
        if not running:
            reader.close()
            reader = follower.Follower(log.paths)
        log.write(to("b"))
        renamed = log.file.rename(log.file.with_name("postfix.log.20261127-000000"))
        with renamed.open("a") as late:
            late.write(to("c") + "\n")
        catch_up(reader)
        log.write(to("d"))
        catch_up(reader)
        catch_up(reader)
        reader.close()
    assert log.recipients() == ["a", "b", "c", "d"]


def test_late_lines_of_a_renamed_log_are_waited_for(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "GRACE", 1000.0)
    with log.follower() as reader:
        log.write(to("a"))
        catch_up(reader)
        renamed = log.file.rename(log.file.with_name("postfix.log.1"))
        log.write(to("c"))
        catch_up(reader)
        with renamed.open("a") as late:
            late.write(to("b") + "\n")
        catch_up(reader)
        monkeypatch.setattr(follower, "GRACE", 0.0)
        catch_up(reader)
        catch_up(reader)
    assert log.recipients() == ["a", "b", "c"]


def test_rotated_more_than_once_and_compressed_while_we_were_down(log: Log) -> None:
    log.follow()
    log.write(to("a"))
    log.follow()
    log.write(to("b"))
    for number, name in ((2, "c"), (1, "d")):
        renamed = log.file.rename(log.file.with_name(f"postfix.log.{number}"))
        packed = renamed.with_name(f"{renamed.name}.gz")
        packed.write_bytes(gzip.compress(renamed.read_bytes()))
        shutil.copystat(renamed, packed)
        renamed.unlink()
        log.write(to(name, f"4jbb{number}"))
    log.follow()
    assert log.recipients() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("running", [True, False])
def test_emptied_log_goes_on_from_its_beginning(log: Log, running: bool) -> None:
    with log.follower() as reader:
        log.write(to("a"), to("b"))
        catch_up(reader)
        if not running:
            reader.close()
            reader = follower.Follower(log.paths)
        # As logrotate's copytruncate does.
        log.write(to("c"))
        shutil.copy(log.file, log.file.with_name("postfix.log.1"))
        log.file.write_text("")
        log.write(to("d", "4jbbD"))
        catch_up(reader)
        catch_up(reader)
        reader.close()
    assert log.recipients() == ["a", "b", "c", "d"]


def test_log_that_is_gone_is_no_trouble(log: Log) -> None:
    log.follow()
    log.write(to("a"))
    log.follow()
    log.file.unlink()
    log.follow()
    log.write(to("b", "4jbbB"))
    began = time.time()
    log.follow()
    assert log.recipients() == ["a", "b"]
    assert reading.read(log.paths.root).since >= began


def test_endless_line_is_passed_over(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "CHUNK", 1000)
    with log.follower() as reader:
        log.write("x" * 5000, to("a"))
        catch_up(reader)
    assert log.recipients() == ["a"]


def test_beginning_is_remembered_as_far_as_it_was_read(log: Log) -> None:
    with log.follower() as reader:
        for name in "abcd":
            log.write(to(name))
            catch_up(reader)
    position = EventDatabase(log.paths.events_db).position()
    assert position
    assert position.head == log.file.read_bytes()[: logfiles.HEAD]
    assert position.offset == log.file.stat().st_size


@pytest.fixture
def _each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the follower note each time that it knows all."""
    monkeypatch.setattr(follower, "ALIVE", 0.0)


@pytest.mark.usefixtures("_each_time")
def test_daemon_s_look_at_the_end_is_told_and_not_the_reader_s(log: Log) -> None:
    began = time.time()
    with log.follower() as reader:
        news = reading.read(log.paths.root)
        assert (news.alive_at, abs(news.since - began) < 60) == (0, True)
        catch_up(reader)
        # Postfix has written no log yet: whether there was mail is not known.
        assert reading.read(log.paths.root).alive_at == 0
        log.write(to("a"))
        catch_up(reader)
    first = reading.read(log.paths.root)
    assert began <= first.alive_at <= time.time()
    assert reading.read(log.paths.root).alive_at == first.alive_at
    log.follow()
    again = reading.read(log.paths.root)
    assert again.alive_at > first.alive_at
    assert again.since == first.since


@pytest.mark.usefixtures("_each_time")
def test_rest_that_is_not_read_yet_is_not_claimed_to_be_known(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log.follower() as reader:
        log.write(to("a"), to("b"))
        monkeypatch.setattr(follower, "CHUNK", len(to("a")) + 1)
        reader.turn()
        assert log.recipients() == ["a"]
        assert reading.read(log.paths.root).alive_at == 0
        catch_up(reader)
        known = reading.read(log.paths.root).alive_at
        assert known > 0
        # Renamed, with the new log not there yet.
        log.file.rename(log.file.with_name("postfix.log.1"))
        catch_up(reader)
        assert reading.read(log.paths.root).alive_at == known


def test_file_of_before_says_since_when_it_knows(log: Log) -> None:
    db = EventDatabase(log.paths.events_db)
    db.keep([event(at=5_000), event(at=6_000)], Position(1, b"", 0), {}, [], 0)
    db._db.execute("DROP TABLE alive")
    db.close()
    EventDatabase(log.paths.events_db).close()
    assert reading.read(log.paths.root).since == 5_000


def damage(packed: bytes) -> bytes:
    """Return a compressed file whose second half is no compressed data."""
    return packed[: len(packed) // 2] + b"\xff" * (len(packed) // 2)


@pytest.mark.parametrize("harm", [damage, lambda packed: packed[:-20]], ids=["damaged", "cut"])
def test_damaged_file_is_passed_over(log: Log, harm: Callable[[bytes], bytes]) -> None:
    log.write(to("before"))
    log.follow()
    log.write(*(to(f"lost{random.random()}") for _line in range(1000)))
    packed = harm(gzip.compress(log.file.read_bytes()))
    log.file.unlink()
    log.file.with_name("postfix.log.1.gz").write_bytes(packed)
    log.write(to("after", "4jbbA"))
    began = time.time()
    log.follow()
    assert log.recipients() == ["after"]
    # Nobody is told that all is known of before.
    assert reading.read(log.paths.root).since >= began


def test_file_that_is_damaged_from_its_beginning_is_no_file_of_the_log(log: Log) -> None:
    packed = bytearray(gzip.compress(to("x").encode() * 9))
    packed[10:] = b"\xff" * 30
    path = log.file.with_name("postfix.log.1.gz")
    path.write_bytes(packed)
    with pytest.raises(zlib.error):
        gzip.decompress(packed)
    assert logfiles.look(path) is None


def test_old_events_are_forgotten_a_portion_at_a_time(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PORTION", 4)
    db = EventDatabase(log.paths.events_db)
    old = [event(at=1_000) for _number in range(10)]
    db.keep([*old, event(at=KEPT + 2000)], Position(1, b"", 0), {}, [], 0)
    rounds = 1
    while db.forget(KEPT + 1500):
        rounds += 1
    assert rounds == 3
    assert [one.at for one in log.events()] == [KEPT + 2000]
    # Numbers never come again.
    assert db.last_number() == 11


def test_unreadable_events_are_an_error(log: Log) -> None:
    assert reading.read(log.paths.root) == reading.News([], "", more=False)
    log.paths.events_db.write_text("no database")
    with pytest.raises(EventsError, match="not a database"):
        reading.read(log.paths.root)
