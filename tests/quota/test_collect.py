"""The panel takes over what the policy daemon knows: all of it, once, and only what is news."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import localdate, now
from pytest_django import DjangoAssertNumQueries, Settings

import quota.collect
from accounts.models import Account, Domain
from mailhost.policy import figures
from mailhost.policy.throttle import ACCOUNT
from propagation.models import MailServer
from quota import tasks
from quota.collect import DAYS_KEPT, collect
from quota.models import REFUSALS_KEPT, Guessing, Refusal, Report, SendingHour, SendingWindow
from tests import factories
from tests.conftest import SOAK, tell
from tests.quota.reports import ELSEWHERE, OFFICE, Daemon


def test_hours_are_taken_over_and_grow(daemon: Daemon, server: MailServer, alice: Account) -> None:
    daemon.send("alice", 3)
    daemon.send("alice", 2, "2001:db8::1", "login")
    assert collect(server) == 2
    daemon.send("alice", 4)
    assert collect(server) == 1
    hours = SendingHour.objects.filter(account=alice).on(localdate())
    assert dict(hours.values_list("address", "recipients")) == {OFFICE: 7, "2001:db8::1": 2}
    assert hours.total() == 9
    assert collect(server) == 0


def test_everything_again_changes_nothing(daemon: Daemon, server: MailServer) -> None:
    daemon.send("alice", 3)
    daemon.log_in("alice", OFFICE)
    daemon.guess("alice", ELSEWHERE)
    daemon.refuse("alice", "day-recipients", 1000, 1000)
    collect(server)
    models = (SendingHour, SendingWindow, Refusal)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    Report.objects.update(cursor="")
    assert collect(server) == 4
    assert [list(model.objects.order_by("pk").values()) for model in models] == before
    assert Guessing.objects.count() == 1


def test_second_run_at_once_leaves_it_to_the_first(daemon: Daemon, server: MailServer) -> None:
    daemon.send("alice", 3)
    with figures.taken_over_alone(daemon.root):
        assert collect(server) == 0
    assert collect(server) == 1


def test_report_deleted_meanwhile_brings_everything_again(
    daemon: Daemon, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.send("alice", 3)
    read = figures.read

    def deleted(*arguments: Any) -> figures.Figures:
        found = read(*arguments)
        Report.objects.all().delete()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(figures, "read", deleted)
        collect(server)
    assert collect(server) == 1


def test_much_news_is_read_in_parts(
    daemon: Daemon, server: MailServer, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    for n in range(5):
        daemon.send("alice", 1, f"203.0.113.{n}")
    daemon.refuse("alice", "size", 100, 101)
    assert len(figures.read(daemon.root).sent) == 2
    assert collect(server) == 6
    assert SendingHour.objects.filter(account=alice).count() == 5
    assert collect(server) == 0


def test_other_time_zone_is_said(
    daemon: Daemon, server: MailServer, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    collect(server)
    assert not caplog.records
    settings.TIME_ZONE = "Europe/Berlin"
    collect(server)
    assert "Asia/Tokyo" in caplog.text


def test_window_opens_is_prolonged_and_closes(
    daemon: Daemon, server: MailServer, alice: Account
) -> None:
    daemon.log_in("alice", OFFICE)
    daemon.log_in("alice", "2001:db8::1", protocol="imap", lport="2143", listener="2143")
    collect(server)
    assert {
        window.network for window in SendingWindow.objects.filter(account=alice) if window.open
    } == {
        OFFICE,
        "2001:db8::/64",
    }
    daemon.now += 60
    daemon.log_in("alice", OFFICE)
    collect(server)
    window = SendingWindow.objects.get(account=alice, network=OFFICE)
    assert window.until - window.login_at == timedelta(minutes=30)
    assert window.login_at.timestamp() == pytest.approx(daemon.now)
    SendingWindow.objects.update(until=now() - timedelta(hours=25))
    collect(server)
    assert not SendingWindow.objects.exists()


def test_last_refusals_are_kept(daemon: Daemon, server: MailServer, alice: Account) -> None:
    for n in range(4):
        daemon.refuse("alice", "size", 100, n, sender=f"s{n}@example.com")
    collect(server)
    for n in range(4, REFUSALS_KEPT + 3):
        daemon.refuse("alice", "size", 100, n, sender=f"s{n}@example.com")
    collect(server)
    reached = Refusal.objects.filter(account=alice).values_list("reached", flat=True)
    assert list(reached) == list(range(REFUSALS_KEPT + 2, 2, -1))


def test_repeats_of_one_cause_are_one_refusal(
    daemon: Daemon, server: MailServer, alice: Account
) -> None:
    daemon.refuse("alice", "sender", to="first@x.example", sender="old@example.net")
    daemon.refuse("alice", "size", 100, 101)
    collect(server)
    for n in range(4):
        daemon.refuse("alice", "sender", to=f"{n}@x.example", sender="old@example.net")
    daemon.refuse("alice", "sender", sender="other\0@example.net")
    assert collect(server) == 2
    rows = Refusal.objects.filter(account=alice).values_list(
        "reason", "sender", "times", "recipient"
    )
    assert list(rows) == [
        ("sender", "other?@example.net", 1, "x@y.example"),
        ("sender", "old@example.net", 5, "3@x.example"),
        ("size", "alice@example.com", 1, "x@y.example"),
    ]
    last = Refusal.objects.get(times=5)
    assert last.at.timestamp() == pytest.approx(daemon.now - 1)
    daemon.now += 86400
    daemon.refuse("alice", "sender", sender="old@example.net")
    collect(server)
    assert Refusal.objects.filter(account=alice, sender="old@example.net").count() == 2


def test_guessing_comes_and_is_lifted_for_good(
    daemon: Daemon, server: MailServer, alice: Account
) -> None:
    for n in range(ACCOUNT.refuse):
        daemon.guess("alice", f"10.0.{n}.1")
    collect(server)
    guessing = Guessing.objects.get(account=alice)
    assert guessing.wrong == ACCOUNT.refuse
    assert guessing.refused_until
    assert guessing.refused_until > now()
    assert daemon.allow("alice", ELSEWHERE) == -1
    call_command("lift_throttling", "alice@example.com")
    collect(server)  # passes it on; nobody does it, as no daemon runs
    assert Guessing.objects.get().lift_asked_at is None
    daemon.throttle.take_lifts(daemon.now)
    assert daemon.allow("alice", ELSEWHERE) == 0
    collect(server)
    assert not Guessing.objects.exists()


def test_what_an_earlier_account_of_the_name_did_is_not_shown(
    daemon: Daemon, server: MailServer, alice: Account
) -> None:
    daemon.send("alice", 3)
    daemon.refuse("alice", "size", 1, 2)
    daemon.log_in("alice", OFFICE)
    Account.objects.filter(pk=alice.pk).update(created_at=now() + timedelta(days=2))
    collect(server)
    assert not SendingHour.objects.exists()
    assert not Refusal.objects.exists()
    assert not SendingWindow.objects.exists()


def test_account_of_the_name_in_another_domain_did_not_send_it(
    daemon: Daemon, server: MailServer, alice: Account, net: Domain
) -> None:
    daemon.send("alice", 3)
    Account.objects.filter(pk=alice.pk).update(domain=net)
    collect(server)
    assert not SendingHour.objects.exists()


def test_account_that_the_panel_does_not_know_is_left_out(
    daemon: Daemon, server: MailServer
) -> None:
    daemon.send("bob", 3)
    assert collect(server) == 0
    assert Report.objects.get().cursor


def test_deleted_account_takes_its_figures_along(
    daemon: Daemon, server: MailServer, alice: Account
) -> None:
    daemon.send("alice", 3)
    daemon.log_in("alice", OFFICE)
    daemon.guess("alice", ELSEWHERE)
    daemon.refuse("alice", "size", 1, 2)
    collect(server)
    alice.delete_later()
    factories.settle()
    for model in (SendingHour, SendingWindow, Refusal, Guessing):
        assert not model.objects.exists()


def test_old_figures_go(daemon: Daemon, server: MailServer) -> None:
    daemon.send("alice", 1)
    daemon.guess("alice", ELSEWHERE)
    collect(server)
    SendingHour.objects.update(day=localdate() - timedelta(days=DAYS_KEPT))
    collect(server)
    assert SendingHour.objects.count() == 1
    SendingHour.objects.update(day=localdate() - timedelta(days=DAYS_KEPT + 1))
    Guessing.objects.update(told_at=now() - timedelta(hours=3))
    collect(server)
    assert not SendingHour.objects.exists()
    assert not Guessing.objects.exists()


def test_old_figures_go_in_portions(
    daemon: Daemon, server: MailServer, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota.collect, "_TOGETHER", 4)
    collect(server)
    long_ago = localdate() - timedelta(days=DAYS_KEPT + 1)
    rows = [
        SendingHour(account=alice, day=long_ago, hour=hour, address=OFFICE, way="auth")
        for hour in range(9)
    ]
    for row in rows:
        row.recipients = 1
    SendingHour.objects.bulk_create(rows)
    with CaptureQueriesContext(connection) as queries:
        collect(server)
    deletions = [q["sql"] for q in queries if 'DELETE FROM "quota_sendinghour"' in q["sql"]]
    assert [sql.count(",") + 1 for sql in deletions] == [4, 4, 1]
    assert not SendingHour.objects.exists()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_accounts_cost_few_statements(
    daemon: Daemon,
    server: MailServer,
    com: Domain,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    number = 100_000 if SOAK else 10_000
    factories.make_many_accounts(com, number)
    changes = range(1, number + 1)
    rows = [
        (f"user{n - 1:05}", "example.com", localdate().isoformat(), 9, OFFICE, "auth", n, n)
        for n in changes
    ]
    daemon.db._db.executemany("INSERT INTO count VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    begin = time.perf_counter()
    with django_assert_max_num_queries(number // 100 + 100):
        assert collect(server) == number
    first = time.perf_counter() - begin
    assert SendingHour.objects.all().total() == number * (number + 1) // 2
    # A minute later little is news.
    daemon.send("alice", 1)
    begin = time.perf_counter()
    with django_assert_max_num_queries(20):
        assert collect(server) == 1
    second = time.perf_counter() - begin
    tell(f"{number} accounts: {first:.1f} s, then {second * 1000:.0f} ms")


def test_server_elsewhere_is_left_to_its_own_machine(
    daemon: Daemon, server: MailServer, settings: Settings
) -> None:
    factories.make_server("mail2.plusmail.test")
    daemon.send("alice", 1)
    call_command("collect_figures")
    assert SendingHour.objects.count() == 1
    tasks.collect_server_figures(server.pk)
    with pytest.raises(CommandError, match=r"mail2\.plusmail\.test"):
        call_command("collect_figures", "mail2.plusmail.test")


def test_damaged_database_is_said(daemon: Daemon, server: MailServer) -> None:
    daemon.stop()
    (daemon.root / "policy" / "policy.sqlite3").write_bytes(b"nonsense" * 1000)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("collect_figures")
    (daemon.root / "policy" / "policy.sqlite3").unlink()
    for name in ("-wal", "-shm"):
        (daemon.root / "policy" / f"policy.sqlite3{name}").unlink(missing_ok=True)
    daemon.start()


def test_lift_of_what_nobody_guessed_at_is_said(
    com: Domain, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("lift_throttling", "example@example.com")
    assert "Nobody" in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("lift_throttling", "nobody@example.com")
