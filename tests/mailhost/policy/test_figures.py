"""What the panel reads of the policy daemon, and what it asks of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailhost.policy import figures
from mailhost.policy.throttle import ACCOUNT, PLACE, WINDOW
from tests.mailhost.policy.logins import ALICE, ELSEWHERE, HOME, WORK, Logins


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    made = Logins(tmp_path)
    yield made
    made.close()


def read(logins: Logins, cursor: str = "") -> figures.Figures:
    return figures.read(logins.root, cursor, logins.now)


def test_where_no_daemon_ever_ran_there_is_nothing(tmp_path: Path) -> None:
    assert figures.read(tmp_path) == figures.Figures()
    assert figures.refused_places(tmp_path) == []
    with pytest.raises(figures.FiguresError):
        figures.lift(tmp_path, "alice")


def test_open_ways_come_once_and_again_when_they_change(logins: Logins) -> None:
    logins.log_in("alice", HOME)
    logins.log_in("bob", "2001:db8::1")
    first = read(logins)
    assert first.ways == [
        figures.OpenWay("alice", HOME, "pop3", logins.now, logins.now + 1800),
        figures.OpenWay("bob", "2001:db8::1", "pop3", logins.now, logins.now + 1800),
    ]
    second = read(logins, first.cursor)
    assert second == figures.Figures(cursor=first.cursor)
    logins.now += 60
    logins.log_in("alice", HOME)
    third = read(logins, second.cursor)
    assert [(way.account, way.until) for way in third.ways] == [("alice", logins.now + 1800)]
    logins.delete(ALICE)
    logins.now += 60
    logins.expire()
    assert [way.until for way in read(logins, third.cursor).ways] == [logins.now]


def test_numbers_go_on_growing_after_rows_have_gone_and_a_restart(logins: Logins) -> None:
    logins.guess()
    cursor = read(logins).cursor
    logins.now += WINDOW + 1
    logins.expire()
    logins.restart()
    assert read(logins, cursor).guessed == []
    logins.guess("bob")
    assert [guessed.account for guessed in read(logins, cursor).guessed] == ["bob"]


def test_owner_sees_who_guessed_and_until_when_it_holds_others_up(logins: Logins) -> None:
    logins.log_in("alice", HOME)
    logins.guess("alice", HOME)
    for _ in range(PLACE.refuse):
        logins.guess("alice", ELSEWHERE)
        logins.now += 1
    begin = logins.now - PLACE.refuse
    [guessed] = read(logins).guessed
    assert (guessed.account, guessed.wrong, guessed.refused_until) == ("alice", PLACE.refuse, 0)
    assert guessed.slowed_until == begin + 10 + WINDOW
    attacker, owner = guessed.places
    assert attacker == figures.GuessedFrom(
        ELSEWHERE, PLACE.refuse, logins.now - 1, False, begin + 15 + WINDOW, begin + WINDOW
    )
    assert owner == figures.GuessedFrom(HOME, 1, begin, True, 0, 0)
    assert figures.refused_places(logins.root, logins.now) == [attacker]
    for n in range(ACCOUNT.refuse - PLACE.refuse):
        logins.guess("alice", f"10.0.{n}.1")
    [guessed] = read(logins).guessed
    assert guessed.refused_until == begin + WINDOW
    assert len(guessed.places) == figures.MOST_PLACES
    # What is told is what is done.
    logins.now = begin + WINDOW - 1
    assert logins.allow("alice", WORK) == -1
    logins.now += 1
    assert logins.allow("alice", WORK) > 0


def test_place_refused_for_others_sake_is_told_to_who_tried_there_too(logins: Logins) -> None:
    logins.guess("alice", ELSEWHERE)
    for _ in range(PLACE.refuse):
        logins.guess("bob", ELSEWHERE)
    by_account = {guessed.account: guessed for guessed in read(logins).guessed}
    [place] = by_account["alice"].places
    assert (place.network, place.wrong) == (ELSEWHERE, 1)
    assert place.refused_until > logins.now
    assert not by_account["alice"].slowed_until


def test_lift_is_done_by_the_daemon_and_told(logins: Logins) -> None:
    for n in range(ACCOUNT.refuse):
        logins.guess("alice", f"10.0.{n}.1")
    cursor = read(logins).cursor
    assert not figures.lift(logins.root, "alice")
    assert logins.allow("alice", WORK) == -1
    logins.throttle.take_lifts(logins.now)
    assert logins.allow("alice", WORK) == 0
    assert read(logins, cursor).guessed == [figures.Guessed("alice", 0, 0, 0, ())]
    assert logins.db.query("SELECT * FROM lift") == []


def test_owner_who_logs_in_at_last_is_told_as_well(logins: Logins) -> None:
    logins.guess("alice", WORK)
    cursor = read(logins).cursor
    logins.log_in("alice", WORK)
    assert read(logins, cursor).guessed == [figures.Guessed("alice", 0, 0, 0, ())]


def test_lift_of_an_address_and_for_an_address(logins: Logins) -> None:
    for _ in range(PLACE.refuse):
        logins.guess("bob", "2001:db8::1")
    figures.lift(logins.root, address="2001:db8::2")
    logins.throttle.take_lifts(logins.now)
    assert logins.allow("bob", "2001:db8::1") == 0
    figures.lift(logins.root, "alice", WORK)
    logins.throttle.take_lifts(logins.now)
    for n in range(ACCOUNT.refuse):
        logins.guess("alice", f"10.0.{n}.1")
    assert logins.allow("alice", WORK) == 0
    with pytest.raises(figures.FiguresError, match="no IP address"):
        figures.lift(logins.root, address="everywhere")


def test_lift_waits_until_it_is_done(logins: Logins) -> None:
    done: list[bool] = []
    asking = threading.Thread(
        target=lambda: done.append(figures.lift(logins.root, "alice", wait=10))
    )
    asking.start()
    end = time.monotonic() + 10
    while asking.is_alive() and time.monotonic() < end:
        logins.throttle.take_lifts(logins.now)
        time.sleep(0.01)
    asking.join()
    assert done == [True]


@pytest.mark.parametrize("cursor", ["1", "1.2.3.4.x", "1.2.3.4.5.6", "-1.0.0.0.0", "...."])
def test_cursor_of_something_else_is_refused(logins: Logins, cursor: str) -> None:
    with pytest.raises(figures.FiguresError, match="cursor"):
        read(logins, cursor)


@pytest.mark.long
def test_reading_is_cheap_at_100_000_accounts(logins: Logins) -> None:
    logins.stop()
    with closing(sqlite3.connect(logins.root / "policy" / "policy.sqlite3")) as db, db:
        db.executemany(
            "INSERT INTO grant VALUES (?, ?, ?, 'pop3', ?, 'f', ?, ?, ?)",
            (
                (f"box{n}", f"network{n}", HOME, "a" * 32, logins.now, logins.now + 1800, n + 1)
                for n in range(100_000)
            ),
        )
    logins.start()
    cursor, more = "", True
    while more:
        news = read(logins, cursor)
        assert len(news.ways) <= figures.MOST_ROWS
        cursor, more = news.cursor, news.more
    logins.log_in()
    begin = time.perf_counter()
    changed = read(logins, cursor)
    assert time.perf_counter() - begin < 0.1
    assert [way.account for way in changed.ways] == ["alice"]
