"""Who is slowed down and refused for wrong passwords, and who never is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.policy import throttle
from mailhost.policy.throttle import ACCOUNT, KNOWN, MOST_DELAY, PLACE, WINDOW
from tests.mailhost.policy.logins import ELSEWHERE, HOME, WORK, Logins

DAY = 24 * 3600.0


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    made = Logins(tmp_path)
    yield made
    made.close()


def guess(logins: Logins, count: int, login: str = "alice", source: str = HOME) -> int:
    """Try `count` wrong passwords; return how many were looked at."""
    return sum(logins.guess(login, source) for _ in range(count))


def botnet(logins: Logins, count: int, login: str = "alice") -> int:
    """Try `count` wrong passwords, each from another address."""
    return sum(logins.guess(login, f"10.{n >> 8}.{n & 255}.1") for n in range(count))


def test_slowed_more_and_more_then_refused(logins: Logins) -> None:
    statuses = []
    for _ in range(PLACE.refuse + 3):
        statuses.append(logins.allow())
        logins.report(success=False, pwhash=f"{len(statuses):04x}")
    assert statuses[: PLACE.slow] == [0] * PLACE.slow
    slowed = statuses[PLACE.slow : PLACE.refuse]
    assert slowed == sorted(slowed)
    assert slowed[0] == 1
    assert slowed[-1] == MOST_DELAY
    assert set(statuses[PLACE.refuse :]) == {-1}


def test_refused_place_is_refused_for_every_account(logins: Logins) -> None:
    assert guess(logins, 50) == PLACE.refuse
    assert logins.allow("bob") == -1
    assert logins.allow("nobody") == -1
    assert logins.allow("bob", WORK) == 0


def test_names_that_do_not_exist_count_for_the_place(logins: Logins) -> None:
    assert sum(logins.guess(f"name{n}") for n in range(50)) == PLACE.refuse
    assert logins.allow() == -1


def test_window_slides(logins: Logins) -> None:
    for _ in range(PLACE.refuse):
        assert logins.guess()
        logins.now += 60
    assert logins.allow() == -1
    logins.now += WINDOW - PLACE.refuse * 60
    # The first one has just left the window.
    assert logins.guess()
    assert logins.allow() == -1
    logins.now += 60
    assert logins.allow() > 0
    logins.now += WINDOW
    assert logins.allow() == 0


def test_refused_tries_do_not_prolong_it(logins: Logins) -> None:
    guess(logins, PLACE.refuse)
    for _ in range(60):
        logins.now += 60
        last = logins.guess()
    assert last


def test_account_is_guessed_at_from_everywhere(logins: Logins) -> None:
    assert botnet(logins, 200) == ACCOUNT.refuse
    assert logins.allow(source=ELSEWHERE) == -1
    assert logins.allow("alice@example.com", ELSEWHERE) == -1
    assert logins.allow("bob", ELSEWHERE) == 0


def test_account_is_slowed_before_it_is_refused(logins: Logins) -> None:
    botnet(logins, ACCOUNT.slow)
    assert logins.allow(source=ELSEWHERE) == 1
    logins.now += 60
    botnet(logins, ACCOUNT.refuse - ACCOUNT.slow - 1)
    assert logins.allow(source=ELSEWHERE) == MOST_DELAY


def test_attackers_elsewhere_never_lock_the_owner_out_of_his_address(logins: Logins) -> None:
    assert logins.log_in()
    for n in range(40):
        guess(logins, 10, source=f"198.51.100.{n}")
    assert logins.allow(source=ELSEWHERE) == -1
    assert logins.allow() == 0
    logins.now += KNOWN - DAY
    botnet(logins, 100)
    assert logins.allow() == 0
    logins.restart()
    assert logins.allow() == 0


def test_after_thirty_days_an_address_is_strange_again(logins: Logins) -> None:
    logins.log_in()
    logins.now += KNOWN + DAY
    botnet(logins, 100)
    assert logins.allow() == -1
    logins.expire()
    logins.restart()
    assert logins.allow() == -1


def test_neighbour_behind_the_address_does_not_lock_its_owners_out(logins: Logins) -> None:
    logins.log_in("alice")
    guess(logins, 100, "bob")
    assert logins.allow("bob") == -1
    assert logins.allow("alice") == 0


def test_guessing_from_the_owners_own_address_is_refused_too(logins: Logins) -> None:
    logins.log_in()
    assert guess(logins, 100) == PLACE.refuse
    assert logins.allow() == -1
    # Such mistakes are no guessing from elsewhere.
    assert logins.allow(source=ELSEWHERE) == 0
    assert logins.allow("bob") == 0


def test_owner_who_remembers_starts_anew(logins: Logins) -> None:
    guess(logins, PLACE.refuse - 1)
    assert logins.log_in()
    assert logins.allow() == 0
    assert guess(logins, 100) == PLACE.refuse


def test_own_account_does_not_pay_for_guesses_at_others(logins: Logins) -> None:
    looked_at = 0
    for _ in range(50):
        looked_at += guess(logins, 3, "bob")
        assert logins.log_in("alice")
    assert looked_at == PLACE.refuse


def test_mail_program_with_an_old_password_counts_once(logins: Logins) -> None:
    for _ in range(24 * 60):
        assert logins.guess(pwhash="0ad6")
        logins.now += 60
    assert logins.db.query("SELECT count(*) FROM failure") == [(1,)]
    # The same password at many accounts is a guess at each.
    assert sum(logins.guess(f"name{n}", pwhash="0ad6") for n in range(50)) == PLACE.refuse - 1


def test_without_the_password_bits_every_try_counts(logins: Logins) -> None:
    assert sum(logins.guess(pwhash="") for _ in range(50)) == PLACE.refuse


def test_no_bit_of_a_password_is_written(logins: Logins) -> None:
    logins.guess(pwhash="0ad6")
    logins.stop()
    files = list((logins.root / "policy").iterdir())
    assert files
    assert not any(b"0ad6" in file.read_bytes() for file in files)
    logins.start()


def test_many_guesses_at_once_are_not_all_looked_at(logins: Logins) -> None:
    guess(logins, PLACE.slow)
    assert sum(logins.allow() >= 0 for _ in range(1000)) <= PLACE.refuse
    # Connections that ended without a word are forgotten soon.
    logins.now += 60
    assert logins.allow() > 0


def test_many_mail_programs_at_once_are_not_slowed(logins: Logins) -> None:
    for _ in range(3):
        logins.guess("bob")
    assert {logins.allow() for _ in range(1000)} == {0}


def test_login_by_an_alias_is_judged_like_its_account(logins: Logins) -> None:
    botnet(logins, 100)
    alias = "info@example.com"
    # What an alias leads to is learnt from the first report.
    logins.report("alice", WORK, success=False, orig="Info@Example.com")
    assert logins.allow(alias, ELSEWHERE) == -1


def test_service_that_speaks_for_many_is_slowed_at_most(logins: Logins) -> None:
    service = {"listener": "2144", "protocol": "imap"}
    assert sum(logins.guess(source="127.0.0.1", **service) for _ in range(100)) == 100
    assert logins.allow(source="127.0.0.1", **service) == MOST_DELAY
    assert logins.allow("bob", source="127.0.0.1", **service) == 0
    # Where the service tells the customer's address, the customer is judged.
    behind = service | {"via": "127.0.0.1"}
    assert logins.allow(source=HOME, **behind) == -1
    assert sum(logins.guess("bob", source=HOME, **behind) for _ in range(100)) == PLACE.refuse


def test_guesses_at_a_master_user_count_for_the_place_alone(logins: Logins) -> None:
    fields = {"orig": "master", "loginuser": "alice"}
    assert sum(logins.guess(**fields) for _ in range(100)) == PLACE.refuse
    assert logins.allow(source=WORK) == 0
    assert logins.db.query("SELECT DISTINCT account FROM failure") == [("",)]


def test_master_users_login_makes_no_address_the_accounts_own(logins: Logins) -> None:
    logins.log_in(orig="master", master="master")
    botnet(logins, 100)
    assert logins.allow() == -1


def test_smtp_counts_like_pop_and_imap(logins: Logins) -> None:
    smtp = {"protocol": "smtp", "lport": "0", "listener": "0"}
    assert sum(logins.guess(**smtp) for _ in range(50)) == PLACE.refuse
    assert logins.allow() == -1
    assert logins.allow(protocol="imap", listener=str(logins.config.imap_port)) == -1


def test_ipv6_is_judged_by_64(logins: Logins) -> None:
    assert sum(logins.guess(source=f"2001:db8::{n:x}") for n in range(1, 51)) == PLACE.refuse
    assert logins.allow("bob", "2001:db8::ffff:1") == -1
    assert logins.allow("bob", "2001:db8:0:1::1") == 0


def test_restart_forgets_nothing(logins: Logins) -> None:
    guess(logins, PLACE.refuse)
    botnet(logins, ACCOUNT.refuse)
    logins.restart()
    assert logins.allow("bob") == -1
    assert logins.allow(source=ELSEWHERE) == -1
    logins.now += WINDOW
    assert logins.allow("bob") == 0


def test_lifted_by_account_by_address_and_by_both(logins: Logins) -> None:
    botnet(logins, ACCOUNT.refuse)
    assert logins.allow(source=ELSEWHERE) == -1
    logins.throttle.lift("alice", "", logins.now)
    assert logins.allow(source=ELSEWHERE) == 0
    guess(logins, PLACE.refuse, "bob")
    assert logins.allow() == -1
    logins.throttle.lift("", HOME, logins.now)
    assert logins.allow() == 0
    botnet(logins, ACCOUNT.refuse)
    logins.throttle.lift("alice", ELSEWHERE, logins.now)
    # The attack goes on, and the owner is at home where he said.
    botnet(logins, ACCOUNT.refuse)
    guess(logins, PLACE.refuse, "bob", ELSEWHERE)
    assert logins.allow(source=ELSEWHERE) == 0
    assert logins.allow(source=HOME) == -1
    logins.restart()
    assert logins.allow(source=ELSEWHERE) == 0


def test_refusal_says_what_it_is_about_and_where_to_look(tmp_path: Path) -> None:
    logins = Logins(tmp_path, help_url="https://panel.example.com/help/sending")
    guess(logins, PLACE.refuse)
    logins.now += 120
    message = str(logins.tell("allow", "alice", HOME)["msg"])
    assert "wrong passwords" in message
    assert "58 min" in message
    assert "https://panel.example.com/help/sending" in message
    assert message.isascii()
    logins.close()


def test_switched_off_it_judges_nothing_and_counts_nothing(tmp_path: Path) -> None:
    logins = Logins(tmp_path, slow_guessing=False)
    assert guess(logins, 100) == 100
    assert logins.allow() == 0
    assert logins.db.query("SELECT count(*) FROM failure") == [(0,)]
    logins.close()


@pytest.mark.long
def test_tables_and_memory_stay_small(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_FAILURES", 500)
    monkeypatch.setattr(throttle, "_MOST_NOTES", 50)
    for n in range(2000):
        logins.guess(f"name{n}", f"10.{n >> 8}.{n & 255}.1")
        logins.log_in("alice", f"10.{n >> 8}.{n & 255}.2")
    assert logins.db.query("SELECT count(*) FROM failure") == [(500,)]
    logins.now += WINDOW + 1
    logins.expire()
    assert logins.db.query("SELECT count(*) FROM failure") == [(0,)]
    kept = [value for value in vars(logins.throttle).values() if isinstance(value, dict | set)]
    assert max(map(len, kept)) <= 50
    logins.now += KNOWN + DAY
    logins.expire()
    assert logins.db.query("SELECT count(*) FROM known_place") == [(0,)]


def test_address_that_is_none_is_nobodys(logins: Logins) -> None:
    assert logins.log_in(source="")
    assert sum(logins.guess(source="") for _ in range(100)) == 100
    assert logins.allow(source="") == MOST_DELAY


def test_config_is_plain(logins: Logins) -> None:
    logins.restart(replace(logins.config, slow_guessing=False))
    assert json.dumps(logins.tell("allow", "alice", HOME)) == '{"status": 0, "msg": ""}'
