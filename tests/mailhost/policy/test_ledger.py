"""What the counts survive: restarts at any moment, a full disk, and time."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailhost.policy import journal, ledger, messages
from tests.mailhost.policy.post import SENDER, Message, Post, news, people


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.close()


def test_restart_counts_what_was_reserved(post: Post) -> None:
    message = post.message()
    message.to(*people(60))
    post.restart()
    assert (post.used(), post.on_record()) == (60, 60)
    # Given up or not: its message may have been accepted meanwhile.
    post.now += 601
    post.ledger.expire(post.now)
    post.restart()
    assert (post.used(), post.on_record()) == (60, 60)


def test_message_goes_on_after_a_restart(post: Post) -> None:
    message = post.message()
    message.to(*people(60))
    for _ in range(2):
        post.restart()
        assert message.to(*people(60)) == "DUNNO"
        assert post.used() == 60
    assert message.to(*people(100)) == "DUNNO"
    assert message.to("more@outside.test").startswith("550 5.5.3")
    assert post.used() == 100
    for _ in range(2):
        assert message.end(recipient_count="100") == "DUNNO"
        post.restart()
    assert message.end(recipient_count="100") == "DUNNO"
    assert (post.used(), post.on_record()) == (100, 100)


def test_given_up_after_a_restart_only_gives_back_what_came_after(post: Post) -> None:
    message = post.message(process="1a2b")
    message.to(*people(3))
    post.restart()
    message.to(*people(5))
    assert post.used() == 5
    post.message(process="1a2b").to("a@outside.test")
    assert post.used() == 3 + 1
    post.restart()
    assert post.used() == 3 + 1


def test_restart_between_the_end_and_its_repetition(post: Post) -> None:
    message = post.message()
    message.to(*people(3))
    assert message.end() == "DUNNO"
    post.restart()
    assert message.end() == "DUNNO"
    assert (post.used(), post.on_record()) == (3, 3)


def test_size_for_a_list_is_judged_after_a_restart_too(post: Post) -> None:
    post.put(news())
    message = post.by_window("x@outside.test", local=True)
    message.to("news@example.com", SENDER)
    post.restart()
    assert message.end(75 * 1024 + 1).startswith("521 5.2.3")
    assert post.used() == 0


def test_failed_commit_is_made_up_for(post: Post) -> None:
    with closing(sqlite3.connect(post.root / "policy" / "policy.sqlite3")) as other:
        post.db._db.execute("PRAGMA busy_timeout = 0")
        message = post.message()
        message.to(*people(2))
        other.execute("BEGIN IMMEDIATE")
        told: list[bool] = []
        post.ledger.count(_kept(post, message), post.now)
        post.db.then(told.append)
        post.db.flush()
        assert (told, post.db.failing) == ([False], True)
        other.execute("ROLLBACK")
    post.db.flush()
    assert not post.db.failing
    post.restart()
    assert (post.used(), post.on_record()) == (2, 2)


def lines(post: Post) -> list[str]:
    return (post.root / "policy" / "journal").read_text().splitlines()


def test_journal_that_was_torn_is_read_as_far_as_it_goes(post: Post) -> None:
    post.message().to(*people(3))
    file = post.root / "policy" / "journal"
    ends = [b"[1,", b'["begin", 2, "x', b"\xff\n", b"\n", b'nonsense\n[7,"a@b.test"]\n', b"[]\n"]
    ends += [b'["begin"]\n', b"[[1], 2]\n", b'["ended", "x", 1, 2]\n', b'["over", []]\n', b"1\n"]
    for end in ends:
        post.stop()
        file.write_bytes(file.read_bytes() + end)
        post.start()
        assert post.used() == 3


def test_full_disk_costs_the_answer_and_nothing_else(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = post.message()
    message.to(*people(2))
    told: list[bool] = []

    def full(file: int, data: bytes) -> int:
        return write(file, data[:5])

    write = os.write
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        message.to(*people(3))
        post.db.then(told.append)
        assert (told, post.db.failing) == ([False], True)
    post.db.flush()
    assert not post.db.failing
    assert len(lines(post)) == 1 + 3
    post.restart()
    assert post.used() == 3


def test_killed_between_the_mark_and_the_count(post: Post) -> None:
    """What is marked as counted in the journal, and in the database not yet, is counted then."""
    messages = [post.message(process=f"p{n}") for n in range(3)]
    for message in messages:
        message.to(*people(2))
    kept = [_kept(post, message) for message in messages]
    post.ledger._journal.note("ended", 10**6, [(kept[0].id, 2)], [kept[1].id])
    for _ in range(3):
        post.restart()
        assert (post.used(), post.on_record()) == (6, 6)
    assert messages[0].end() == "DUNNO"
    assert post.on_record() == 6


def _kept(post: Post, message: Message) -> messages.Message:
    [found] = [kept for kept in post.ledger.messages() if kept.instance == message.instance]
    return found


def test_what_can_never_be_written_keeps_nothing_else(post: Post) -> None:
    post.db.soon("INSERT INTO count VALUES (?, 1, 1, 1, 1, 1, 1, 1)", ("\udc80",))
    message = post.message()
    assert message.to(*people(2)) == "DUNNO"
    post.db.flush()
    assert not post.db.failing
    post.restart()
    assert post.used() == 2


def test_memory_is_bounded(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_MOST_MESSAGES", 100)
    messages = [post.message() for _ in range(150)]
    for message in messages:
        message.to("a@outside.test")
    assert len(list(post.ledger.messages())) == 100
    assert post.used() == 100
    assert messages[0].end().startswith("421")
    assert messages[-1].end() == "DUNNO"


def test_what_is_over_is_forgotten(post: Post) -> None:
    for _ in range(20):
        message = post.message()
        message.to(*people(2))
        message.end()
    post.message().to(*people(3))
    post.now += 601
    post.ledger.expire(post.now)
    assert post.on_record() == 40
    assert len(list(post.ledger.messages())) == 1
    post.now += 32 * 86400
    post.ledger.expire(post.now)
    assert post.used() == post.on_record() == 0
    assert post.db.query("SELECT * FROM count") == []
    assert not post.ledger._totals
    post.restart()
    assert lines(post) == []


def test_journal_is_kept_short_and_says_the_same(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_one = post.message()
    open_one.to(*people(3))
    for n in range(20):
        message = post.message()
        message.to(*people(2, f"m{n}-"))
        message.end()
    monkeypatch.setattr(journal, "MOST_BYTES", 1000)
    before = len(lines(post))
    post.now += 700
    post.ledger.expire(post.now)
    post.ledger.take_again(_kept(post, open_one), post.now)
    post.ledger.tidy()
    assert len(lines(post)) == 1 + 3 < before
    assert open_one.to("p0@outside.test", "more@outside.test") == "DUNNO"
    post.restart()
    assert open_one.to(*people(3)) == "DUNNO"
    assert (post.used(), post.on_record()) == (44, 44)


def test_what_has_ended_counts_though_more_was_given_up(post: Post) -> None:
    message = post.message(process="1a2b")
    message.to(*people(2))
    message.end()
    again = post.message(process="1a2c")
    again.to(*people(3))
    again.end()
    again.to("more@outside.test")
    post.message(process="1a2c").to("other@outside.test")
    assert post.used() == 2 + 3 + 1
    post.restart()
    assert post.used() == post.on_record() == 2 + 3 + 1


def test_counts_never_differ_from_what_was_accepted(post: Post) -> None:
    """Random messages, repeated, given up, restarted: by a simple model of the rules."""
    chance = random.Random(1)
    accepted = in_flight = 0
    post.plan(recipients_per_day=10**6)
    current: dict[str, Message] = {}
    for _ in range(3000):
        process = f"p{chance.randrange(8)}"
        message = current.get(process)
        step = chance.random()
        if step < 0.01:
            # What was open counts from now on, and is no more to be counted.
            in_flight += sum(len(set(_told(m))) for m in current.values())
            current.clear()
            post.restart()
        elif message is None or step < 0.1:
            current[process] = post.message(process=process)
            _TOLD[current[process]] = ["first@outside.test"]
            assert current[process].to("first@outside.test") == "DUNNO"
        elif step < 0.8:
            recipient = chance.choice(people(20))
            assert message.to(recipient) == "DUNNO"
            _TOLD[message].append(recipient)
        else:
            assert message.end() == "DUNNO"
            accepted += len(set(_told(message)))
            del current[process]
            if chance.random() < 0.3:
                assert message.end() == "DUNNO"
        assert post.used() == accepted + in_flight + sum(
            len(set(_told(m))) for m in current.values()
        )
    assert post.on_record() == accepted + in_flight
    assert accepted > 1000
    assert in_flight > 50


_TOLD: dict[Message, list[str]] = {}


def _told(message: Message) -> list[str]:
    return _TOLD[message]
