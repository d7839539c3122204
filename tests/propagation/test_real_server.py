"""The panel and a real Postfix and Dovecot: applying, comparing, mending, asking how it is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now
from pytest_django import Settings

from accounts import trash
from accounts.models import MEGABYTE, Account, DeletedAccount, Domain
from clientsettings import addresses
from forwarding import assistant, removal
from mailhost.host import Host
from mailhost.instance import missing_programs
from mailhost.records import Address, Entry, Record, record_from
from mailuser.models import AutoReply
from orders.models import Option, OptionKind, Order
from propagation import health, reconcile
from propagation.apply import Report, apply_due
from propagation.cancel import cancel
from propagation.models import Cause, Change, ChangeState, MailServer, NotHere
from tests import factories
from tests.conftest import Cast
from tests.earlier import earlier_value
from tests.servers import MailServer as Running
from tests.servers import mail_server

pytestmark = [pytest.mark.servers, pytest.mark.django_db]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One server for the tests of this module."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(factories.SERVER) as server:
        yield server


@dataclass(slots=True)
class Site:
    """The cast, on a server that really has it."""

    cast: Cast
    running: Running

    @property
    def row(self) -> MailServer:
        """The server's row in the panel."""
        return self.cast.server

    def apply(self) -> Report:
        """Let the time come and the worker do its work."""
        factories.come_due(self.row)
        return apply_due(self.row)

    def account(self, name: str) -> Account:
        """Return an account of example.com that is live."""
        account = factories.make_account(self.cast.com, name)
        assert self.apply().applied == 1
        return account

    def tamper(self, *entries: tuple[str, Record | None]) -> None:
        """Change the server behind the panel's back."""
        with self.running.host.lock():
            number = self.running.host.highest_change()
            self.running.host.apply(
                [Entry(key, number + 1 + i, record) for i, (key, record) in enumerate(entries)]
            )


@pytest.fixture
def site(cast: Cast, running: Running, settings: Settings) -> Site:
    """The cast on the running server, and nothing else there."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    # The server remembers the tests before; the panel's wish wins.
    reconcile.repair(cast.server)
    assert reconcile.compare(cast.server) == ([], [])
    return Site(cast, running)


# Applying.


def test_account_and_address_work_once_they_are_applied(site: Site) -> None:
    assistant.open_under(
        domain=site.cast.com, wanted="info", name="myinfo", password=factories.PASSWORD
    )
    assert site.running.rcpt("info@example.com")[0] == 550
    assert site.apply() == Report(applied=2)
    site.running.deliver("info@example.com", text="the first message")
    assert site.running.got("myinfo", "the first message")
    assert site.running.can_log_in("info@example.com")


def test_login_that_the_settings_promise_is_the_one_that_dovecot_takes(site: Site) -> None:
    com, net = site.cast.com, site.cast.net
    for name in ("tanaka", "suzuki", "kato"):
        factories.make_account(com, name)
    leads: dict[str, tuple[str, ...]] = {
        "one": ("tanaka@example.com",),
        "deep": ("one@example.com",),
        "both-ways": ("one@example.com", "tanaka@example.com"),
        "two": ("tanaka@example.com", "suzuki@example.com"),
        "away": ("x@outside.example",),
        "mixed": ("tanaka@example.com", "x@outside.example"),
        "kato": ("kato@example.com", "tanaka@example.com"),
        "via-a-copy": ("kato@example.com",),
        "suzuki": ("x@outside.example",),
        "via-one-led-away": ("suzuki@example.com",),
        "caught": ("nobody@example.com",),
        "to-a-list": ("club@example.com",),
        "": ("tanaka@example.com",),
    }
    factories.make_list(com, "club", "tanaka@example.com")
    for local_part, destinations in leads.items():
        factories.make_forward(com, local_part, *destinations)
    site.apply()
    names = [*filter(None, leads), "tanaka", "club", "nobody", "postmaster", "abuse", "example"]
    promised = set()
    for domain, name in [*((com, name) for name in names), (net, "example"), (net, "abuse")]:
        own = addresses.find(domain, name)
        address = f"{name}@{domain.name}"
        if own is not None and own.account is not None:
            promised.add(address)
        assert site.running.can_log_in(address) == (address in promised), address
    assert promised >= {f"{name}@example.com" for name in ("one", "deep", "both-ways", "kato")}
    assert not promised & {f"{name}@example.com" for name in ("two", "mixed", "caught", "club")}


def test_old_password_stops_working_when_the_new_one_counts(site: Site) -> None:
    account = site.account("tanaka")
    account.set_password("another-long-word")
    assert site.running.can_log_in("tanaka")
    site.apply()
    assert not site.running.can_log_in("tanaka")
    assert site.running.can_log_in("tanaka", "another-long-word")


def test_deleted_account_is_refused_and_comes_back_with_its_mail(site: Site) -> None:
    account = site.account("tanaka")
    factories.make_forward(site.cast.com, "sales", account.address)
    site.apply()
    site.running.deliver("sales@example.com", text="keep this")
    assert site.running.got("tanaka", "keep this")
    removal.delete_account(account)
    site.apply()
    for address in ("tanaka@example.com", "sales@example.com"):
        assert site.running.rcpt(address)[0] == 550
    assert not site.running.can_log_in("tanaka")
    removal.restore_account(DeletedAccount.objects.get(pk=account.pk))
    site.apply()
    assert site.running.got("tanaka", "keep this")
    assert site.running.rcpt("sales@example.com")[0] == 250
    assert not DeletedAccount.objects.exists()


def test_auto_reply_of_the_panel_answers(site: Site) -> None:
    account = site.account("tanaka")
    sender = "anna@outside.test"
    AutoReply.objects.write(account, on=True, subject="Away", text="Back on Monday.")
    assert site.apply() == Report(applied=1)
    assert reconcile.compare(site.row) == ([], [])
    site.running.write(account.address, sender)
    assert site.running.outside.got(sender, "Back on Monday.")
    AutoReply.objects.write(account, on=True, subject="Away", text="Back in May.", days=3)
    site.apply()
    site.running.write(account.address, sender)
    assert site.running.outside.got(sender, "Back in May."), "another text is another answer"
    AutoReply.objects.write(account, on=False, subject="Away", text="Back in May.")
    assert site.apply() == Report(applied=1)
    assert not site.running.host.paths.reply(account.pk.hex).exists()
    assert reconcile.compare(site.row) == ([], [])


def test_change_that_was_taken_back_never_happened(site: Site) -> None:
    account = factories.make_account(site.cast.com, "tanaka")
    cancel([factories.pending(account.key)])
    assert site.apply() == Report()
    assert site.running.rcpt("tanaka@example.com")[0] == 550


def test_run_beside_another_one_leaves_everything_to_it(site: Site) -> None:
    account = factories.make_account(site.cast.com, "tanaka")
    factories.come_due()
    with site.running.host.lock():
        assert apply_due(site.row) == Report(busy=True)
    assert factories.state_of(account.key) == ChangeState.PENDING
    assert apply_due(site.row) == Report(applied=1)


def test_worker_killed_before_it_could_say_so_does_it_again(site: Site) -> None:
    account = site.account("tanaka")
    applied = Change.objects.filter(key=account.key, state="applied").latest("pk")
    Change.objects.filter(pk=applied.pk).update(
        state="applying", ended_at=None, after_secret=account.password_hash
    )
    assert apply_due(site.row).applied == 1
    assert factories.state_of(account.key) == ChangeState.APPLIED


def test_circle_that_only_the_server_sees_waits_with_plain_words(site: Site) -> None:
    site.tamper(("address:b@example.com", Address("b", "example.com", ("a@example.com",))))
    factories.make_forward(site.cast.com, "a", "b@example.com")
    assert site.apply().failed == 1
    change = Change.objects.open().get(key="address:a@example.com")
    assert (change.cause, change.attempts) == (Cause.CIRCLE, 1)
    assert change.retry_at is not None


def test_panel_brought_back_from_a_backup_is_heard_again(site: Site) -> None:
    account = site.account("tanaka")
    account.set_password("another-long-word")
    change = factories.pending(account.key)
    # As if the numbers had been counted from an older one.
    with site.running.host.lock():
        record = change.was()
        assert record is not None
        newer = site.running.host.highest_change() + 1000
        site.running.host.apply([Entry(account.key, newer, record)])
    while Change.objects.open().exists():
        site.apply()
    assert site.running.can_log_in("tanaka", "another-long-word")


def test_machine_without_the_server_says_so(site: Site, settings: Settings) -> None:
    settings.MAILHOST_ROOT = ""
    with pytest.raises(NotHere):
        apply_due(site.row)


def test_command_does_what_the_worker_does(site: Site) -> None:
    factories.make_account(site.cast.com, "tanaka")
    out = io.StringIO()
    call_command("apply_changes", stdout=out)
    assert ": 0 applied" in out.getvalue()
    call_command("apply_changes", "--now", stdout=out)
    assert ": 1 applied" in out.getvalue()
    assert site.running.can_log_in("tanaka")


# Comparing and mending.


def test_every_kind_of_difference_is_found_and_mended(site: Site) -> None:
    for name in ("lost", "changed"):
        site.account(name)
    stray = Address("stray", "example.com", ("x@outside.test",))
    site.tamper(("mailbox:lost", None), (stray.key, stray))
    Account.objects.filter(name="changed").update(quota_bytes=12345)
    found, _files = reconcile.compare(site.row)
    assert {mismatch.key for mismatch in found} == {
        "mailbox:lost",
        "mailbox:changed",
        "address:stray@example.com",
    }
    assert not any("$6$" in str(mismatch) for mismatch in found)
    assert not site.running.can_log_in("lost")
    reconcile.repair(site.row)
    assert reconcile.compare(site.row) == ([], [])
    assert site.running.can_log_in("lost")
    assert site.running.rcpt("stray@example.com")[0] == 550


def test_record_with_an_open_change_is_left_to_it(site: Site) -> None:
    site.account("other")
    factories.make_account(site.cast.com, "waiting")
    account = Account.objects.get(name="other")
    account.set_password("another-long-word")
    assert reconcile.compare(site.row)[0] == []
    reconcile.repair(site.row)
    assert factories.state_of(account.key) == ChangeState.PENDING


def test_account_that_is_being_deleted_is_no_difference(site: Site) -> None:
    site.account("leaving").delete_later()
    assert reconcile.compare(site.row)[0] == []


def test_command_names_the_differences_and_mends_them(site: Site) -> None:
    site.account("lost")
    site.tamper(("mailbox:lost", None))
    out = io.StringIO()
    with pytest.raises(CommandError, match="--repair"):
        call_command("reconcile", stdout=out)
    assert "mailbox:lost" in out.getvalue()
    call_command("reconcile", "--repair", stdout=out)
    assert reconcile.compare(site.row) == ([], [])
    assert "$6$" not in out.getvalue()


def test_files_that_somebody_edited_are_found_and_mended(site: Site) -> None:
    orphan = site.running.root / "mail" / "ff" / ("f" * 32) / "Maildir"
    for part in ("cur", "new", "tmp"):
        (orphan / part).mkdir(parents=True)
    assert reconcile.compare(site.row)[1]
    reconcile.repair(site.row)
    assert reconcile.compare(site.row) == ([], [])


# Options.


def quota(site: Site, name: str) -> bytes:
    """Return what Dovecot tells a mail program of an account's quota, in kilobytes."""
    with site.running.imap(name, factories.PASSWORD) as client:
        answer: bytes = client.getquotaroot("INBOX")[1][1][0]
    return answer


def test_granted_larger_mailbox_is_the_limit_that_dovecot_keeps(site: Site) -> None:
    tanaka = site.account("tanaka")
    option = Option.objects.create(kind=OptionKind.MAILBOX, amount=10 * MEGABYTE, setup_yen=500)
    order = Order.objects.ask(domain=site.cast.com, option=option, account=tanaka)
    assert site.apply().applied == 0
    order.grant()
    assert b"STORAGE 0 10240" in quota(site, "tanaka")
    assert site.apply().applied == 1
    assert b"STORAGE 0 20480" in quota(site, "tanaka")


# The trash.


def test_trash_is_emptied_after_fourteen_days_and_not_before(site: Site) -> None:
    account = site.account("tanaka")
    removal.delete_account(account)
    site.apply()
    assert trash.purge_expired(site.row) == 0
    assert account.pk.hex in {lost.mailbox_id for lost in site.running.host.trash()}


def test_restored_account_is_not_emptied_with_the_trash(site: Site, settings: Settings) -> None:
    account = site.account("tanaka")
    removal.delete_account(account)
    site.apply()
    removal.restore_account(DeletedAccount.objects.get(pk=account.pk))
    settings.TRASH_DAYS = -1
    trash.purge_expired(site.row)
    assert site.apply().applied >= 1
    assert site.running.can_log_in("tanaka")


def test_emptied_trash_is_gone_from_server_and_panel(site: Site, settings: Settings) -> None:
    account = site.account("tanaka")
    removal.delete_account(account)
    site.apply()
    settings.TRASH_DAYS = -1
    assert trash.purge_expired(site.row) >= 1
    assert not DeletedAccount.objects.exists()
    assert account.pk.hex not in {lost.mailbox_id for lost in site.running.host.trash()}


def test_edit_made_during_the_comparison_keeps_its_own_change(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("edited", "changed"):
        site.account(name)
    Account.objects.filter(name__in=["edited", "changed"]).update(quota_bytes=12345)
    compare = reconcile._mismatches

    def edit_meanwhile(server: MailServer, host: Host) -> Iterator[reconcile.Mismatch]:
        yield from compare(server, host)
        Account.objects.get(name="edited").limit(quota_bytes=99999)

    monkeypatch.setattr(reconcile, "_mismatches", edit_meanwhile)
    assert [mismatch.key for mismatch in reconcile.repair(site.row)[0]] == ["mailbox:changed"]
    after = factories.pending("mailbox:edited").after
    assert after
    assert after["quota_bytes"] == 99999


def test_records_of_an_earlier_version_become_todays(site: Site) -> None:
    plan = site.cast.plan
    with site.running.host.lock():
        held = {entry.key: entry.record for entry in site.running.host.records()}
        assert site.running.host.apply([Entry(plan.record().key, 10**6, None)])
    for key in ("domain:example.com", "mailbox:example"):
        record = held[key]
        assert record
        site.tamper((key, record_from(key, earlier_value(key, record.value()))))
    site.row.refresh_from_db()
    mismatches, differences = reconcile.repair(site.row)
    assert {mismatch.key for mismatch in mismatches} == {
        "plan:standard",
        "domain:example.com",
        "mailbox:example",
    }
    assert not differences
    assert reconcile.compare(site.row) == ([], [])


def test_new_limit_of_a_plan_reaches_the_server(site: Site) -> None:
    plan = site.cast.plan
    plan.mailbox_bytes = 50_000_000
    plan.save()
    assert site.apply().applied == 1
    assert site.running.host.record("plan:standard")[1] == plan.record()


# How the server is.


def test_server_that_answers_is_seen_and_one_that_does_not_is_named(site: Site) -> None:
    assert not site.row.answers()
    assert health.report_in(site.row) == ""
    site.row.refresh_from_db()
    assert site.row.answers()
    answered_at = site.row.seen_at
    site.running.stop("dovecot")
    try:
        assert "dovecot" in health.report_in(site.row)
        site.row.refresh_from_db()
        assert not site.row.answers()
        assert site.row.seen_at == answered_at
        assert "dovecot" in site.row.trouble
        with pytest.raises(CommandError):
            call_command("check_servers", stdout=io.StringIO())
    finally:
        site.running.start("dovecot")
    assert health.report_all() == {site.row.name: ""}


def test_server_that_was_silent_for_five_minutes_does_not_answer(site: Site) -> None:
    health.report_in(site.row)
    MailServer.objects.update(seen_at=now() - timedelta(minutes=6))
    assert not MailServer.objects.get().answers()


def test_changes_made_while_a_server_is_down_wait_and_arrive(site: Site) -> None:
    site.running.stop("dovecot")
    try:
        factories.make_account(site.cast.com, "tanaka")
        assert site.apply().failed == 1
        change = Change.objects.open().get(key="mailbox:tanaka")
        assert change.cause == Cause.SILENT
    finally:
        site.running.start("dovecot")
    Change.objects.open().update(retry_at=None)
    assert site.apply().applied == 1
    assert site.running.can_log_in("tanaka")


def test_whole_panel_brought_to_an_empty_server(site: Site) -> None:
    for domain in Domain.objects.all():
        for key in [f"domain:{domain.name}", domain.fixed_account.key]:
            with suppress(ValueError):
                site.tamper((key, None))
    assert len(reconcile.compare(site.row)[0]) == 5
    reconcile.repair(site.row)
    assert reconcile.compare(site.row) == ([], [])
    assert site.running.rcpt("postmaster@example.net")[0] == 250
    assert isinstance(site.row.host(), Host)
