"""Which logins open the way for mail, from where, for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.policy.grants import ENDING, LATE, ON_RECORD, network_of
from mailhost.records import PlanLimits
from tests.mailhost.policy.logins import ALICE, BOB, ELSEWHERE, HOME, OTHER_HASH, WORK, Logins

WINDOW = 30 * 60.0


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    made = Logins(tmp_path)
    yield made
    made.close()


def who(logins: Logins, source: str = HOME) -> list[str]:
    """Return the accounts that may send from there, the latest login first."""
    return [grant.account for grant in logins.grants.valid(source, logins.now)]


def open_way(logins: Logins, account: str = "alice", source: str = HOME) -> bool:
    return logins.grants.opened(account, source, logins.now, "pop3")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unknown", ""),
        ("203.0.113.7/24", ""),
        ("203.0.113.007", ""),
        ("1", ""),
    ],
)
def test_network_is_an_ipv4_address_or_a_64(address: str, network: str) -> None:
    assert network_of(address) == network


def test_login_opens_the_way_for_its_address_alone(logins: Logins) -> None:
    assert open_way(logins)
    assert who(logins) == ["alice"]
    assert who(logins, WORK) == who(logins, "unknown") == who(logins, "") == []
    [grant] = logins.grants.valid(HOME, logins.now)
    assert (grant.login_at, grant.until) == (logins.now, logins.now + WINDOW)
    assert (grant.address, grant.way) == (HOME, "pop3")


def test_window_ends_to_the_second_and_each_login_prolongs_it(logins: Logins) -> None:
    open_way(logins)
    logins.now += WINDOW - 1
    assert who(logins) == ["alice"]
    open_way(logins)
    logins.now += WINDOW - 1
    assert who(logins) == ["alice"]
    logins.now += 1
    assert who(logins) == []


def test_ipv6_counts_by_64(logins: Logins) -> None:
    open_way(logins, source="2001:db8:1:2::a")
    assert who(logins, "2001:db8:1:2:ffff::b") == ["alice"]
    assert who(logins, "2001:db8:1:3::a") == []


def test_behind_one_address_the_latest_login_comes_first(logins: Logins) -> None:
    for account in ("alice", "bob", "alice"):
        open_way(logins, account)
        logins.now += 1
    assert who(logins) == ["alice", "bob"]
    logins.restart()
    assert who(logins) == ["alice", "bob"]


def test_new_password_closes_the_way_and_a_login_with_it_opens_it(logins: Logins) -> None:
    open_way(logins)
    open_way(logins, "bob")
    logins.put(replace(ALICE, password_hash=OTHER_HASH))
    assert who(logins) == ["bob"]
    open_way(logins)
    assert who(logins) == ["alice", "bob"]


def test_deleted_account_closes_the_way_for_a_new_one_of_its_name_too(logins: Logins) -> None:
    open_way(logins)
    logins.delete(ALICE)
    assert who(logins) == []
    assert not open_way(logins)
    logins.put(replace(ALICE, mailbox_id="c" * 32))
    assert who(logins) == []


def test_change_of_anything_else_leaves_it_open(logins: Logins) -> None:
    open_way(logins)
    logins.put(replace(ALICE, quota_bytes=5_000_000))
    assert who(logins) == ["alice"]


def test_switched_off_for_account_plan_server_or_network(tmp_path: Path, logins: Logins) -> None:
    for address in (HOME, WORK):
        open_way(logins, source=address)
    logins.put(replace(ALICE, pop_before_smtp=False))
    assert who(logins) == []
    assert not open_way(logins)
    logins.put(ALICE)
    assert who(logins) == ["alice"]
    logins.put(PlanLimits("light", pop_before_smtp=False))
    assert who(logins) == []
    logins.put(PlanLimits("light"))
    logins.restart(replace(logins.config, no_window_networks="203.0.113.7/32,2001:db8::/32"))
    assert who(logins) == []
    assert who(logins, WORK) == ["alice"]
    assert not open_way(logins)
    assert not open_way(logins, source="2001:db8::1")
    assert not open_way(logins, source="::ffff:203.0.113.7")
    logins.restart(replace(logins.config, pop_before_smtp=False))
    assert who(logins, WORK) == []
    assert not open_way(logins, source=WORK)


def test_restart_forgets_no_grant(logins: Logins) -> None:
    open_way(logins)
    open_way(logins, "bob", "2001:db8::1")
    logins.restart()
    assert who(logins) == ["alice"]
    assert who(logins, "2001:db8::2") == ["bob"]
    logins.now += WINDOW
    assert who(logins) == []


def test_wrong_clock_or_longer_setting_does_not_outlive_a_restart(logins: Logins) -> None:
    logins.now += 3600 * 24 * 365
    open_way(logins)
    logins.now -= 3600 * 24 * 365
    logins.restart()
    [grant] = logins.grants.valid(HOME, logins.now)
    assert grant.until == logins.now + WINDOW


def test_open_session_holds_the_way_open(logins: Logins) -> None:
    open_way(logins)
    open_way(logins, "bob", WORK)
    logins.now += WINDOW - ENDING
    assert logins.grants.ending(logins.now) == []
    logins.now += 1
    mine, others = logins.grants.ending(logins.now)
    assert (mine.account, others.account) == ("alice", "bob")
    logins.grants.extend(mine, logins.now)
    logins.now += ENDING
    assert who(logins) == ["alice"]
    assert who(logins, WORK) == []
    [grant] = logins.grants.valid(HOME, logins.now)
    assert grant.login_at == logins.now - WINDOW - 1


def test_open_session_does_not_hold_open_what_was_closed(logins: Logins) -> None:
    open_way(logins)
    logins.now += WINDOW - 1
    [grant] = logins.grants.ending(logins.now)
    logins.put(replace(ALICE, password_hash=OTHER_HASH))
    logins.grants.extend(grant, logins.now)
    assert who(logins) == []
    logins.put(ALICE)
    logins.grants.extend(grant, logins.now)
    open_way(logins)
    logins.grants.extend(grant, logins.now + 60)
    [newer] = logins.grants.valid(HOME, logins.now)
    assert newer.until == logins.now + WINDOW


def test_session_found_late_opens_the_way_again_also_after_a_long_absence(logins: Logins) -> None:
    open_way(logins)
    logins.now += WINDOW + LATE
    logins.expire()
    assert len(logins.grants.ending(logins.now)) == 1
    logins.now += 1
    logins.expire()
    assert logins.grants.ending(logins.now) == []
    logins.now += 3600
    logins.restart()
    [grant] = logins.grants.ending(logins.now)
    logins.grants.extend(grant, logins.now)
    assert who(logins) == ["alice"]


def test_what_is_over_leaves_memory_and_in_time_the_database(logins: Logins) -> None:
    for number in range(100):
        open_way(logins, "alice", f"198.51.100.{number}")
    logins.now += WINDOW + LATE + 1
    open_way(logins, "bob")
    logins.expire()
    assert logins.grants.ending(logins.now + WINDOW) == logins.grants.valid(HOME, logins.now)
    logins.now += ON_RECORD
    logins.expire()
    assert logins.db.query("SELECT count(*) FROM grant") == [(1,)]


def test_closed_by_a_change_is_ended_on_record_too(logins: Logins) -> None:
    open_way(logins)
    logins.delete(ALICE)
    logins.now += 60
    logins.expire()
    assert logins.db.query("SELECT until FROM grant") == [(logins.now,)]


def test_unknown_account_opens_nothing(logins: Logins) -> None:
    assert not open_way(logins, "nobody", ELSEWHERE)
    assert not open_way(logins, BOB.address)
    assert not open_way(logins, source="")
