"""The panel takes over how full mailboxes are: all of it, once, and only what is news."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Account, Domain
from mailhost.dovecot import Size
from mailhost.usage import figures
from mailhost.usage.database import Box
from propagation.models import MailServer
from quota import tasks
from quota.models import MailboxUsage, Notice, UsageReport, UsageWarning, WaitingMail
from quota.usage import COPIES_NAMED, collect
from tests import factories
from tests.conftest import SOAK, tell
from tests.quota.usages import LIMIT, MB, Told


def test_figures_are_taken_over_and_change(told: Told, server: MailServer, alice: Account) -> None:
    told.hold(alice, 1.5, messages=7)
    assert collect(server) == 1
    usage = MailboxUsage.objects.get(account=alice)
    assert (usage.used, usage.messages, usage.limit) == (int(1.5 * MB), 7, LIMIT)
    assert usage.percent == 15
    assert not usage.full
    assert collect(server) == 0
    told.hold(alice, 10)
    assert collect(server) == 1
    usage.refresh_from_db()
    assert usage.percent == 100
    assert usage.full
    assert UsageReport.objects.get().collected_at


def test_percentage_is_rounded_down(told: Told, server: MailServer, alice: Account) -> None:
    for used, percent in ((LIMIT - 1, 99), (LIMIT, 100), (LIMIT * 95 // 100 - 1, 94), (0, 0)):
        told.hold(alice, used / MB)
        collect(server)
        assert MailboxUsage.objects.get().percent == percent
    told.hold(alice, 1, limit=1)
    collect(server)
    assert MailboxUsage.objects.get().percent == MB * 100


def test_report_deleted_brings_everything_again_and_warns_of_nothing_twice(
    told: Told, server: MailServer, alice: Account
) -> None:
    told.hold(alice, 9)
    collect(server)
    before = list(MailboxUsage.objects.values())
    UsageReport.objects.all().delete()
    assert collect(server) == 1
    assert list(MailboxUsage.objects.values()) == before
    assert Notice.objects.count() == 1


def test_freed_name_never_shows_another_s_figure(
    told: Told, server: MailServer, alice: Account
) -> None:
    told.hold(alice, 9, mailbox_id=uuid.uuid4().hex)
    assert collect(server) == 0
    assert not MailboxUsage.objects.exists()


def test_account_on_another_server_gets_no_figure(
    told: Told, server: MailServer, alice: Account
) -> None:
    told.hold(alice, 1)
    Account.objects.filter(pk=alice.pk).update(server=factories.make_server("mail9.example"))
    assert collect(server) == 0


def test_deleted_account_takes_its_figures_along(
    told: Told, server: MailServer, alice: Account
) -> None:
    told.hold(alice, 10)
    told.wait(alice, "a@b.example", 100)
    collect(server)
    models = (MailboxUsage, UsageWarning, WaitingMail, Notice)
    assert all(model.objects.exists() for model in models)
    alice.delete_later()
    factories.settle()
    assert not any(model.objects.exists() for model in models)


def test_much_news_is_read_in_parts(
    told: Told, server: MailServer, com: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    factories.make_many_accounts(com, 5)
    for account in Account.objects.filter(name__startswith="user").select_related("domain"):
        told.hold(account, 1)
    assert collect(server) == 5
    assert MailboxUsage.objects.count() == 5


def test_other_run_that_was_quicker_is_left_alone(
    told: Told, server: MailServer, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.hold(alice, 1)
    read = figures.read

    def overtaken(*arguments: object) -> figures.News:
        """Return old news, while another run takes over newer ones."""
        found = read(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(figures, "read", read)
        told.hold(alice, 5)
        collect(server)
        return found

    monkeypatch.setattr(figures, "read", overtaken)
    assert collect(server) == 0
    assert MailboxUsage.objects.get().used == 5 * MB


def test_failed_run_leaves_neither_figures_nor_cursor(
    told: Told, server: MailServer, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.hold(alice, 9)
    with monkeypatch.context() as patch:
        patch.setattr("quota.notices.write", lambda notices: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collect(server)
    assert not MailboxUsage.objects.exists()
    assert not UsageWarning.objects.exists()
    assert collect(server) == 1
    assert Notice.objects.count() == 1


def test_copies_that_wait_are_counted_and_go(told: Told, server: MailServer, bob: Account) -> None:
    told.hold(bob, 10)
    for n in range(COPIES_NAMED + 2):
        told.wait(bob, f"s{n}@b.example", 1000, ago=-n)
    collect(server)
    waiting = WaitingMail.objects.get(account=bob)
    assert (waiting.count, waiting.size) == (COPIES_NAMED + 2, 1000 * (COPIES_NAMED + 2))
    assert [one["sender"] for one in waiting.first] == [
        f"s{n}@b.example" for n in range(COPIES_NAMED)
    ]
    # There is room again, and Postfix has delivered most.
    told.hold(bob, 1)
    told.copies = told.copies[-1:]
    collect(server)
    assert WaitingMail.objects.get().count == 1
    told.copies = []
    collect(server)
    assert not WaitingMail.objects.exists()


def test_nobody_asks_postfix_where_nothing_is_full(
    told: Told, server: MailServer, bob: Account
) -> None:
    told.hold(bob, 9.9)
    collect(server)
    assert told.asked_for_waiting == 0


def test_copy_for_an_earlier_account_of_the_name_is_not_shown(
    told: Told, server: MailServer, bob: Account, net: Domain
) -> None:
    told.hold(bob, 10)
    told.wait(bob, "s@b.example", 1000, ago=3600)
    collect(server)
    assert not WaitingMail.objects.exists()
    told.wait(bob, "s@b.example", 1000, ago=-1)
    Account.objects.filter(pk=bob.pk).update(domain=net)
    collect(server)
    assert not WaitingMail.objects.exists()


def test_command_does_both_kinds_of_figures(
    told: Told, server: MailServer, alice: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    told.hold(alice, 9)
    call_command("collect_figures")
    out = capsys.readouterr().out
    assert "1 news" in out
    assert "1 notices sent" in out
    tasks.collect_server_usage(server.pk)
    assert len(told.delivered) == 1


def test_damaged_figures_are_said_and_keep_nothing_else(
    told: Told, server: MailServer, alice: Account
) -> None:
    told.db.close()
    (told.root / "usage" / "usage.sqlite3").write_bytes(b"nonsense" * 1000)
    for name in ("-wal", "-shm"):
        (told.root / "usage" / f"usage.sqlite3{name}").unlink(missing_ok=True)
    with pytest.raises(CommandError, match=r"usage\.sqlite3"):
        call_command("collect_figures")
    UsageReport.objects.get()


def test_unknown_account_to_recount_is_said(told: Told, server: MailServer) -> None:
    with pytest.raises(CommandError, match=r"nobody@example\.com"):
        call_command("recount_usage", "--account", "nobody@example.com")


def test_recount_elsewhere_is_said(com: Domain, settings: Settings) -> None:
    call_command("recount_usage")
    with pytest.raises(CommandError, match="MAILHOST_ROOT"):
        call_command("recount_usage", "--account", "example@example.com")


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (MailboxUsage, {"used": 1, "messages": 1, "limit": 0, "asked_at": now()}),
        (MailboxUsage, {"used": 10**17, "messages": 1, "limit": 1, "asked_at": now()}),
        (MailboxUsage, {"used": -1, "messages": 1, "limit": 1, "asked_at": now()}),
        (WaitingMail, {"count": 0, "size": 0, "oldest_at": now()}),
        (Notice, {"kind": "../etc"}),
        (Notice, {"kind": "quota-80\n"}),
        (UsageWarning, {"kind": "quota-80", "used": 1, "limit": 1, "wednesday": now().date()}),
        (UsageWarning, {"kind": "wednesday-monday", "used": 1, "limit": 1}),
        (UsageWarning, {"kind": "other", "used": 1, "limit": 1}),
    ],
)
def test_database_keeps_nonsense_out(
    model: type, fields: dict[str, object], alice: Account
) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        model(account=alice, **fields).save(force_insert=True)


def test_a_warning_stands_once(alice: Account) -> None:
    fields = {"account": alice, "kind": "quota-80", "used": 1, "limit": 1}
    UsageWarning.objects.create(**fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageWarning.objects.create(**fields)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_accounts_cost_few_statements(
    told: Told,
    server: MailServer,
    com: Domain,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    number = 100_000 if SOAK else 10_000
    factories.make_many_accounts(com, number)
    accounts = list(Account.objects.filter(name__startswith="user").values_list("pk", "name"))
    boxes = [Box(pk.hex, name, "example.com", LIMIT) for pk, name in accounts]
    # One in a hundred is full, one in ten nearly.
    sizes = {
        box.account: Size(n, LIMIT * (100 if n % 100 == 0 else 85 if n % 10 == 0 else 40) // 100)
        for n, box in enumerate(boxes)
    }
    told.db.keep(boxes, sizes, time.time())
    begin = time.perf_counter()
    with django_assert_max_num_queries(number // 100 + 100):
        assert collect(server) == number
    first = time.perf_counter() - begin
    assert UsageWarning.objects.filter(kind="quota-80").count() == number // 10
    assert Notice.objects.count() == number // 10
    # A minute later little is news.
    told.hold(Account.objects.select_related("domain").get(pk=accounts[5][0]), 9.9)
    begin = time.perf_counter()
    with django_assert_max_num_queries(25):
        assert collect(server) == 1
    second = time.perf_counter() - begin
    tell(f"{number} mailboxes: {first:.1f} s, then {second * 1000:.0f} ms")
    assert second < 2


def test_old_notices_go(told: Told, server: MailServer, alice: Account) -> None:
    Notice.objects.create(
        account=alice, kind="quota-80", written_at=now() - timedelta(days=63), values={}
    )
    tasks.collect_server_usage(server.pk)
    assert not Notice.objects.exists()
    assert told.delivered == []


def test_quiet_minute_costs_few_queries(told: Told, server: MailServer, alice: Account) -> None:
    told.hold(alice, 1)
    tasks.collect_server_usage(server.pk)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        tasks.collect_server_usage(server.pk)
    assert len(queries) <= 16, [one["sql"] for one in queries]
