"""Open IMAP sessions as Dovecot tells them, and what is kept up each second and minute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.dovecot import NoAnswer
from mailhost.paths import Paths
from mailhost.policy import figures
from mailhost.policy.sessions import Sessions, read_who
from mailhost.policy.upkeep import Upkeep, each
from mailhost.records import Entry, HostedDomain, Record
from tests.mailhost.policy.logins import ELSEWHERE, HOME, WORK, Logins
from tests.servers import mail_server, mailbox

WINDOW = 30 * 60.0


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    made = Logins(tmp_path)
    yield made
    made.close()


class Told(Sessions):
    """Sessions by hand: None says that Dovecot gives no answer."""

    def __init__(self, there: set[tuple[str, str]] | None) -> None:
        self.there = there

    async def by_imap(self) -> set[tuple[str, str]]:
        if self.there is None:
            raise NoAnswer("Dovecot is not running")
        return self.there


def a_round(logins: Logins, there: set[tuple[str, str]] | None = None) -> None:
    """Do what is done each minute, with these sessions open."""
    asyncio.run(Upkeep(logins.grants, logins.throttle, Told(there), logins.clock).round())


def who(logins: Logins, source: str = HOME) -> list[str]:
    return [grant.account for grant in logins.grants.valid(source, logins.now)]


def test_what_doveadm_says_is_read_by_its_columns() -> None:
    text = (
        "username\tproto\tpid\tip\n"
        "bob\tpop3\t10209\t127.0.0.9\n"
        "alice\timap\t10207\t203.0.113.7\n"
        "alice\timap\t10208\t203.0.113.7\n"
        "10\timap\t10206\t2001:db8:1:2::9\n"
        "\timap\t1\t\n"
        "carol\timap\t1\n"
    )
    assert read_who(text) == {("alice", HOME), ("10", "2001:db8:1:2::/64")}
    assert read_who("") == read_who("username\tproto\tpid\tip\n") == set()


def test_imap_session_holds_the_way_open_minute_by_minute(logins: Logins) -> None:
    logins.grants.opened("alice", HOME, logins.now, "imap")
    logins.grants.opened("bob", HOME, logins.now, "imap")
    for _ in range(120):
        logins.now += 60
        a_round(logins, {("alice", HOME), ("bob", WORK), ("carol", ELSEWHERE)})
        assert "alice" in who(logins)
    assert who(logins) == ["alice"]
    assert who(logins, WORK) == who(logins, ELSEWHERE) == []
    logins.now += WINDOW
    a_round(logins, set())
    assert who(logins) == []


def test_dovecot_that_does_not_answer_stops_nothing(logins: Logins) -> None:
    logins.grants.opened("alice", HOME, logins.now, "imap")
    logins.guess(source=ELSEWHERE)
    logins.now += WINDOW + 60
    a_round(logins, None)
    assert who(logins) == []
    # Its answer comes a minute late.
    logins.now += 60
    a_round(logins, {("alice", HOME)})
    assert who(logins) == ["alice"]
    logins.now += 3600
    a_round(logins, None)
    assert logins.db.query("SELECT count(*) FROM failure") == [(0,)]


def test_session_is_looked_for_after_the_daemon_was_away(logins: Logins) -> None:
    logins.grants.opened("alice", HOME, logins.now, "imap")
    logins.now += 2 * WINDOW
    logins.restart()
    a_round(logins, {("alice", HOME)})
    assert who(logins) == ["alice"]


def test_error_in_one_round_does_not_end_the_next() -> None:
    async def run() -> None:
        calls = 0

        async def failing() -> None:
            nonlocal calls
            calls += 1
            raise ValueError("a mistake")

        task = asyncio.create_task(each(0.01, failing))
        await asyncio.sleep(0.2)
        task.cancel()
        assert calls > 2

    asyncio.run(run())


@pytest.mark.servers
def test_dovecot_tells_who_is_there_and_the_daemon_who_was() -> None:
    if problem := instance.missing_programs():
        pytest.skip(problem)
    with mail_server() as server:
        box = mailbox("anna")
        records: list[Record] = [HostedDomain(box.domain, box.address), box]
        with server.host.lock():
            server.host.apply([Entry(r.key, n, r) for n, r in enumerate(records, 1)])
        sessions = Sessions(Paths(server.root))
        assert asyncio.run(sessions.by_imap()) == set()
        imap = server.imap("Anna@example.com", source="127.0.0.2")
        pop3 = server.pop3("anna", source="127.0.0.3")
        assert asyncio.run(sessions.by_imap()) == {("anna", "127.0.0.2")}
        ways = figures.read(server.root).ways
        assert {(way.account, way.address, way.way) for way in ways} == {
            ("anna", "127.0.0.2", "imap"),
            ("anna", "127.0.0.3", "pop3"),
        }
        imap.logout()
        pop3.quit()
        server.stop("dovecot")
        with pytest.raises(NoAnswer):
            asyncio.run(sessions.by_imap())
