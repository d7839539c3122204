"""The Wednesday job: when it runs, what it notes, what it tries again, and whom it tells."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from accounts.models import Account, Domain
from mailhost.archive import CODES
from propagation.models import MailServer
from quota import tasks, wednesday
from quota.archiving import news, weekly
from quota.archiving.words import REASONS, to_customer, to_operator
from quota.models import Archive, ArchiveChoice, ArchiveNews, ArchiveRun, ArchiveRunResult, Notice
from tests.quota.engine import MB, Engine

TOKYO = ZoneInfo("Asia/Tokyo")
TUESDAY = datetime(2026, 12, 1, 12, 0, tzinfo=TOKYO)
WEDNESDAY = datetime(2026, 12, 2, 4, 0, tzinfo=TOKYO)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Begin at Wednesday's hour."""
    with time_machine.travel(WEDNESDAY, tick=False) as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def _zone() -> Iterator[None]:
    with timezone.override(TOKYO):
        yield


def looked_after(server: MailServer, since: datetime = TUESDAY) -> None:
    """Let the panel have looked after the server's archives since then."""
    ArchiveNews.objects.update_or_create(server=server, defaults={"since": since})


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (WEDNESDAY - timedelta(seconds=1), "2026-11-25"),
        (WEDNESDAY, "2026-12-02"),
        (WEDNESDAY + timedelta(hours=19, minutes=59), "2026-12-02"),
        (WEDNESDAY + timedelta(days=7, seconds=-1), "2026-12-02"),
        (WEDNESDAY.astimezone(UTC), "2026-12-02"),
    ],
)
def test_latest_wednesday_is_the_one_whose_hour_has_come(moment: datetime, day: str) -> None:
    latest = wednesday.latest(moment)
    assert str(latest) == day
    assert wednesday.run_on(latest) <= moment < wednesday.run_on(latest + timedelta(days=7))


def test_run_takes_what_is_full_and_tells(
    engine: Engine, server: MailServer, alice: Account, bob: Account, clock: object
) -> None:
    engine.fill(alice, bob)
    run = weekly.run_week(server)
    assert run is not None
    assert (run.weekly, run.late, run.found, str(run.day)) == (True, False, 2, "2026-12-02")
    assert run.sums() == {"done": 2, "failed": 0, "messages": 84, "mail_bytes": 22 * MB}
    assert [asked for asked in engine.asked if asked[0] == "take"] == [
        ("take", "alice", False, True),
        ("take", "bob", False, True),
    ]
    assert set(Archive.objects.values_list("account_name", flat=True)) == {"alice", "bob"}
    notices = Notice.objects.filter(kind="archive-done")
    assert {notice.account_id for notice in notices} == {alice.pk, bob.pk}
    assert notices[0].values["file_name"].endswith(".oldmail.20261202.gz")


def test_week_s_run_is_done_once(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    assert weekly.run_week(server) is not None
    engine.fill(alice)
    assert weekly.run_week(server) is None
    looked_after(server)
    weekly.look_after(server)
    assert engine.full
    clock.move_to(WEDNESDAY + timedelta(days=7))
    assert weekly.run_week(server) is not None
    assert not engine.full


def test_owner_s_choice_counts_and_the_command_overrides_it(
    engine: Engine, server: MailServer, com: Domain, alice: Account, bob: Account, clock: object
) -> None:
    ArchiveChoice.objects.create(domain=com, oldest=True)
    engine.fill(alice)
    weekly.run_week(server)
    engine.fill(bob)
    weekly.run_now(server, oldest=False)
    took = [asked[1:3] for asked in engine.asked if asked[0] == "take"]
    assert took == [("alice", True), ("bob", False)]


def test_missed_run_is_made_up_the_same_day(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    looked_after(server)
    engine.fill(alice)
    clock.move_to(WEDNESDAY + timedelta(hours=5))
    assert weekly.missed() == []
    weekly.look_after(server)
    run = ArchiveRun.objects.get()
    assert (run.late, run.weekly, run.found) == (True, True, 1)


def test_run_missed_altogether_waits_for_the_operator(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    looked_after(server)
    engine.fill(alice)
    clock.move_to(WEDNESDAY + timedelta(days=1))
    weekly.look_after(server)
    assert engine.full
    assert weekly.missed() == [(server, WEDNESDAY.date())]
    assert weekly.ask_for(server, by=None)
    assert weekly.missed() == []
    weekly.look_after(server)
    run = ArchiveRun.objects.get()
    assert (run.late, str(run.day), run.sums()["done"]) == (True, "2026-12-02", 1)
    assert weekly.ask_for(server, by=None) is None


def test_server_that_is_new_has_missed_nothing(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    engine.fill(alice)
    looked_after(server, WEDNESDAY + timedelta(hours=1))
    clock.move_to(WEDNESDAY + timedelta(hours=2))
    weekly.look_after(server)
    assert engine.full
    clock.move_to(WEDNESDAY + timedelta(days=1))
    assert weekly.missed() == []


def test_failure_is_told_once_tried_again_and_told_when_it_worked(
    engine: Engine, server: MailServer, alice: Account, bob: Account, clock: time_machine.Traveller
) -> None:
    engine.fill(alice, bob)
    engine.failing = {"alice": "home_readonly"}
    weekly.run_week(server)
    result = ArchiveRunResult.objects.get(address="alice@example.com")
    assert (result.code, result.attempts) == ("home_readonly", 1)
    assert result.retry_at == WEDNESDAY + timedelta(minutes=5)
    assert ArchiveRun.objects.get().sums()["done"] == 1
    weekly.look_after(server)
    assert Notice.objects.filter(kind="archive-failed").count() == 1
    clock.move_to(WEDNESDAY + timedelta(minutes=5))
    weekly.look_after(server)
    result.refresh_from_db()
    assert (result.attempts, result.retry_at) == (2, WEDNESDAY + timedelta(minutes=20))
    assert Notice.objects.filter(kind="archive-failed").count() == 1
    engine.failing = {}
    clock.move_to(WEDNESDAY + timedelta(minutes=20))
    weekly.look_after(server)
    result.refresh_from_db()
    assert ArchiveRunResult.objects.filter(pk=result.pk, code="", messages=42, retry_at=None)
    kinds = Notice.objects.filter(account=alice).order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["archive-failed", "archive-done"]
    assert ArchiveRun.objects.get().sums() == {
        "done": 2,
        "failed": 0,
        "messages": 84,
        "mail_bytes": 22 * MB,
    }


def test_failure_is_left_for_next_week_after_midnight(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    engine.fill(alice)
    engine.failing = {"alice": "server_down"}
    clock.move_to(WEDNESDAY + timedelta(hours=19, minutes=58))
    weekly.run_week(server)
    assert ArchiveRunResult.objects.get().retry_at is None


def test_mailbox_that_was_emptied_meanwhile_is_no_failure(
    engine: Engine, server: MailServer, alice: Account, clock: time_machine.Traveller
) -> None:
    engine.fill(alice)
    engine.failing = {"alice": "busy"}
    weekly.run_week(server)
    engine.full.clear()
    clock.move_to(WEDNESDAY + timedelta(minutes=5))
    weekly.look_after(server)
    assert ArchiveRun.objects.get().sums()["failed"] == 0
    assert not Notice.objects.filter(kind="archive-done").exists()


def test_unexpected_error_of_one_mailbox_keeps_no_other(
    engine: Engine,
    server: MailServer,
    alice: Account,
    bob: Account,
    clock: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.fill(alice, bob)
    take = engine.take

    def breaks(root: object, account: str, **options: bool) -> object:
        if account == "alice":
            raise ZeroDivisionError("a defect")
        return take(engine.root, account, **options)

    monkeypatch.setattr("mailhost.archive.take", breaks)
    weekly.run_week(server)
    codes = dict(ArchiveRunResult.objects.values_list("address", "code"))
    assert codes == {"alice@example.com": "unexpected", "bob@example.com": ""}


class Killed(BaseException):
    """The end of a process."""


def test_killed_run_is_gone_on_with(
    engine: Engine,
    server: MailServer,
    alice: Account,
    bob: Account,
    clock: time_machine.Traveller,
) -> None:
    engine.fill(alice, bob)

    def kill(step: weekly.Step) -> None:
        raise Killed

    with pytest.raises(Killed):
        weekly.run_week(server, tell=kill)
    run = ArchiveRun.objects.get()
    assert (run.finished_at, run.results.count()) == (None, 1)
    # The second mailbox's archive was made, and its worker killed before it could be noted.
    clock.shift(timedelta(minutes=1))
    engine.full.clear()
    engine.left = [engine.make(bob)]
    weekly.look_after(server)
    run.refresh_from_db()
    assert run.finished_at is not None
    assert run.sums()["done"] == 2
    assert Notice.objects.filter(kind="archive-done").count() == 2


def test_two_runs_on_one_server_are_never_at_once(
    engine: Engine, server: MailServer, alice: Account, clock: object
) -> None:
    engine.fill(alice)
    held = os.open(engine.root / "archiving.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert weekly.run_week(server) is None
    assert weekly.run_now(server) is None
    with pytest.raises(CommandError, match="another process"):
        call_command("archive_overquota", stdout=StringIO())
    os.close(held)
    assert weekly.run_week(server) is not None


def test_run_that_cannot_find_out_what_is_full_stays_open(
    engine: Engine, server: MailServer, alice: Account, clock: object
) -> None:
    engine.fill(alice)
    engine.failing = {"": "server_down"}
    with pytest.raises(CommandError, match="server_down"):
        call_command("archive_overquota", stdout=StringIO())
    run = ArchiveRun.objects.get()
    assert (run.finished_at, run.trouble) == (None, "It is server_down.")
    engine.failing = {}
    weekly.look_after(server)
    run.refresh_from_db()
    assert run.sums()["done"] == 1
    assert run.trouble == ""


def test_command_for_cron_is_the_week_s_run_and_then_another(
    engine: Engine, server: MailServer, alice: Account, bob: Account, clock: object
) -> None:
    engine.fill(alice)
    out = StringIO()
    call_command("archive_overquota", stdout=out)
    assert "alice@example.com: 42 messages, 11 MB" in out.getvalue()
    assert "1 full, 1 archived, 0 not; 42 messages, 11 MB" in out.getvalue()
    engine.fill(bob)
    call_command("archive_overquota", server=[server.name], stdout=StringIO())
    assert list(ArchiveRun.objects.order_by("pk").values_list("weekly", flat=True)) == [True, False]


def test_command_can_only_look(engine: Engine, alice: Account, clock: object) -> None:
    engine.fill(alice)
    out = StringIO()
    call_command("archive_overquota", dry_run=True, stdout=out)
    assert "alice@example.com: 42 messages, 11 MB" in out.getvalue()
    assert "nothing was changed" in out.getvalue()
    assert engine.asked == []
    assert not ArchiveRun.objects.exists()


def test_command_takes_one_account(
    engine: Engine, alice: Account, bob: Account, clock: object
) -> None:
    engine.fill(alice, bob)
    call_command("archive_overquota", account=["bob@example.com"], stdout=StringIO())
    assert [one.account for one in engine.full] == ["alice"]
    assert ArchiveRun.objects.get().weekly is False
    with pytest.raises(CommandError, match=r"No such account: nobody@example\.com"):
        call_command("archive_overquota", account=["nobody@example.com"])


def test_command_fails_where_a_mailbox_does(engine: Engine, alice: Account, clock: object) -> None:
    engine.fill(alice)
    engine.failing = {"alice": "home_full"}
    with pytest.raises(CommandError, match=r"alice@example\.com: home_full"):
        call_command("archive_overquota", stdout=StringIO())


def test_archives_made_and_deleted_elsewhere_appear(
    engine: Engine, server: MailServer, alice: Account
) -> None:
    engine.make(alice)
    assert news.collect(server) == 1
    assert news.collect(server) == 0
    engine.mark(1, "gone")
    tasks.collect_server_archives(server.pk)
    row = Archive.objects.get()
    assert (row.state, row.account(), row.kept) == ("gone", alice, False)
    assert [asked[0] for asked in engine.asked] == ["verify"]
    ArchiveNews.objects.all().delete()
    assert news.collect(server) == 1
    assert Archive.objects.count() == 1


def test_archive_outlives_its_account(engine: Engine, server: MailServer, bob: Account) -> None:
    engine.make(bob)
    news.collect(server)
    bob.forget()
    assert Archive.objects.get().account() is None
    assert Archive.objects.get().account_name == "bob"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_reason_has_words_for_both(language: str) -> None:
    assert set(CODES) <= set(REASONS)
    with translation.override(language):
        said = [words(code) for code in REASONS for words in (to_customer, to_operator)]
        assert to_customer("of-a-newer-server") == to_customer("unexpected")
    assert all(said)
    assert all(any(ord(letter) > 0x3000 for letter in one) == (language == "ja") for one in said)
