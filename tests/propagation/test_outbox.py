"""What is proposed, what replaces it, and when a server may take it."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from pytest_django import Settings
from time_machine import TimeMachineFixture

from accounts.models import Account, Domain
from forwarding import assistant
from mailhost.host import Host, Outcome, Status
from mailhost.records import Address, Mailbox, RecordError, record_from
from propagation import apply
from propagation.cancel import cancel
from propagation.models import PAUSES, Cause, Change, ChangeState, MailServer, TooLate
from tests import factories
from tests.conftest import Cast

HASH = "{SHA512-CRYPT}$6$rounds=1000$abcdefgh$" + "x" * 86


def mailbox(quota: int = 1) -> Mailbox:
    """Return a record that no row stands behind."""
    return Mailbox("loose", "example.com", "0" * 32, HASH, quota)


def propose(server: MailServer, before: Mailbox | None, after: Mailbox | None) -> Change | None:
    """Propose in a transaction."""
    with transaction.atomic():
        return Change.objects.propose(server, before=before, after=after)


def loose() -> Change:
    """Return the one change of that record."""
    return Change.objects.get(key="mailbox:loose")


def states(key: str) -> list[str]:
    """Return the states of a record's changes, oldest first."""
    return list(Change.objects.filter(key=key).order_by("pk").values_list("state", flat=True))


# Proposing.


@pytest.mark.django_db(transaction=True)
def test_change_outside_its_objects_transaction_is_a_mistake() -> None:
    server = factories.make_server()
    with pytest.raises(RuntimeError):
        Change.objects.propose(server, before=None, after=mailbox())


def test_change_of_nothing_is_a_mistake(server: MailServer) -> None:
    with pytest.raises(ValueError, match="needs a record"):
        propose(server, None, None)


def test_change_is_due_after_the_delay(server: MailServer, settings: Settings) -> None:
    settings.PROPAGATION_DELAY = 60
    change = propose(server, None, mailbox())
    assert change is not None
    assert change.due_at - change.made_at == timedelta(seconds=60)


def test_newer_change_replaces_the_waiting_one_and_keeps_its_group(server: MailServer) -> None:
    first = propose(server, None, mailbox(1))
    second = propose(server, mailbox(1), mailbox(2))
    assert first is not None
    assert second is not None
    assert states("mailbox:loose") == ["superseded", "pending"]
    assert second.creates
    assert second.group == first.group


def test_edit_that_undoes_what_waits_leaves_nothing_to_do(server: MailServer) -> None:
    propose(server, mailbox(1), mailbox(2))
    assert propose(server, mailbox(2), mailbox(1)) is None
    assert states("mailbox:loose") == ["superseded"]


def test_edit_that_changes_nothing_is_no_change(server: MailServer) -> None:
    assert propose(server, mailbox(1), mailbox(1)) is None
    assert states("mailbox:loose") == []


def test_change_after_one_on_its_way_starts_from_what_the_server_is_getting(
    server: MailServer,
) -> None:
    propose(server, mailbox(1), mailbox(2))
    factories.come_due()
    Change.objects.claim_due(server)
    change = propose(server, mailbox(2), mailbox(1))
    assert change is not None
    assert change.was() == mailbox(2)
    assert states("mailbox:loose") == ["applying", "pending"]


def test_record_survives_the_outbox_unchanged(server: MailServer) -> None:
    change = propose(server, None, mailbox())
    assert change is not None
    stored = Change.objects.get(pk=change.pk)
    assert stored.entry().record == mailbox()
    address = Address("info", "example.com", ("a@example.com", "b@example.org"))
    with transaction.atomic():
        kept = Change.objects.propose(server, before=None, after=address)
    assert kept is not None
    assert Change.objects.get(pk=kept.pk).entry().record == address


# Claiming.


def test_change_is_left_alone_until_it_is_due(server: MailServer) -> None:
    propose(server, None, mailbox())
    assert Change.objects.claim_due(server) == []
    factories.come_due()
    assert [change.key for change in Change.objects.claim_due(server)] == ["mailbox:loose"]


def test_server_takes_only_its_own_changes(server: MailServer) -> None:
    second = factories.make_server("mail2.plusmail.test")
    propose(server, None, mailbox())
    factories.come_due()
    assert Change.objects.claim_due(second) == []


def test_what_a_killed_worker_had_claimed_is_claimed_again(server: MailServer) -> None:
    propose(server, None, mailbox())
    factories.come_due()
    assert Change.objects.claim_due(server) == Change.objects.claim_due(server)


def test_due_change_replaces_one_that_is_stuck(server: MailServer) -> None:
    propose(server, None, mailbox(1))
    factories.come_due()
    Change.objects.claim_due(server)
    propose(server, mailbox(1), mailbox(2))
    factories.come_due()
    claimed = Change.objects.claim_due(server)
    assert [change.entry().record for change in claimed] == [mailbox(2)]
    assert states("mailbox:loose") == ["superseded", "applying"]


def test_server_with_something_due_is_awaited(server: MailServer) -> None:
    assert list(Change.objects.awaited()) == []
    propose(server, None, mailbox())
    assert list(Change.objects.awaited()) == []
    factories.come_due()
    assert list(Change.objects.awaited()) == [server.pk]
    Change.objects.claim_due(server)
    assert list(Change.objects.awaited()) == [server.pk]


# Failing, and trying again.


def test_each_pause_is_longer_than_the_last_and_the_last_one_stays(
    server: MailServer, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T12:00:00+09:00", tick=False)
    propose(server, None, mailbox())
    pauses = []
    for _attempt in range(7):
        factories.settle(server, status=Status.UNCONFIRMED, reason="no answer")
        change = loose()
        assert change.state == ChangeState.APPLYING
        assert change.retry_at is not None
        pauses.append(round((change.retry_at - now()).total_seconds() / 60))
        assert Change.objects.claim_due(server) == []
        assert list(Change.objects.awaited()) == []
        time_machine.move_to(change.retry_at, tick=False)
        assert list(Change.objects.awaited()) == [server.pk]
    assert pauses == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert loose().attempts == 7


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (Status.UNCONFIRMED, "", Cause.SILENT),
        (Status.REFUSED, "loop", Cause.CIRCLE),
        (Status.REFUSED, "mailbox_name", Cause.REFUSED),
    ],
)
def test_failure_has_plain_words_for_the_customer_and_the_reason_for_the_operator(
    server: MailServer, status: Status, code: str, cause: Cause
) -> None:
    propose(server, None, mailbox())
    factories.settle(server, status=status, reason="postmap: fatal " + "x" * 600, code=code)
    change = loose()
    assert change.cause == cause
    assert "postmap" not in str(change.get_cause_display())
    assert len(change.trouble) == 500


def test_one_failing_record_does_not_hold_up_the_rest(server: MailServer) -> None:
    propose(server, None, mailbox())
    factories.settle(server, status=Status.UNCONFIRMED, reason="no answer")
    with transaction.atomic():
        Change.objects.propose(
            server, before=None, after=Address("a", "example.com", ("b@example.org",))
        )
    assert factories.settle(server) == ["address:a@example.com"]


def test_retried_change_that_succeeds_is_applied(server: MailServer) -> None:
    propose(server, None, mailbox())
    factories.settle(server, status=Status.UNCONFIRMED)
    Change.objects.open().hurry()
    factories.settle(server)
    assert states("mailbox:loose") == ["applied"]


# What must exist first.


def test_forward_is_never_claimed_before_the_mailbox_it_leads_to(com: Domain) -> None:
    account = factories.make_account(com, "myinfo")
    factories.make_forward(com, "info", account.address)
    Change.objects.filter(key="address:info@example.com").update(due_at=now())
    assert Change.objects.claim_due(com.server) == []
    assert factories.settle() == ["mailbox:myinfo", "address:info@example.com"]


def test_forward_waits_for_a_mailbox_that_fails(com: Domain) -> None:
    account = factories.make_account(com, "myinfo")
    factories.make_forward(com, "info", account.address)
    factories.settle(status=Status.UNCONFIRMED)
    factories.come_due()
    assert Change.objects.claim_due(com.server) == []
    assert factories.state_of("address:info@example.com") == ChangeState.PENDING


def test_forward_is_announced_no_earlier_than_its_mailbox(
    com: Domain, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T12:00:00+09:00", tick=False)
    account = factories.make_account(com, "myinfo")
    factories.make_forward(com, "info", account.address)
    time_machine.shift(timedelta(minutes=10))
    account.set_password("another-long-word")
    mailbox_due = factories.pending(account.key).due_at
    assert factories.pending("address:info@example.com").due_at == mailbox_due


def test_assistants_pair_needs_no_second_wait(
    com: Domain, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T12:00:00+09:00", tick=False)
    assistant.open_under(domain=com, wanted="info", name="myinfo", password=factories.PASSWORD)
    due = {change.due_at for change in Change.objects.pending()}
    assert len(due) == 1
    assert factories.settle() == ["mailbox:myinfo", "address:info@example.com"]


def test_chain_of_forwards_goes_live_from_its_end(com: Domain) -> None:
    factories.make_account(com, "box")
    factories.make_forward(com, "c", "box@example.com")
    factories.make_forward(com, "b", "c@example.com")
    factories.make_forward(com, "a", "b@example.com")
    keys = [f"address:{name}@example.com" for name in "cba"]
    assert factories.settle() == ["mailbox:box", *keys]


def test_forward_to_a_mailbox_on_another_server_waits_for_it(cast: Cast) -> None:
    second = factories.make_server("mail2.plusmail.test")
    far = factories.make_domain("far.example", customer=cast.sakura, plan=cast.plan, server=second)
    factories.settle()
    account = factories.make_account(far, "box")
    factories.make_forward(cast.com, "info", account.address)
    factories.come_due()
    assert Change.objects.claim_due(cast.server) == []
    factories.settle(second)
    assert factories.settle(cast.server) == ["address:info@example.com"]


def test_account_waits_for_its_new_domain(cast: Cast) -> None:
    domain = factories.make_domain(
        "new.example", customer=cast.sakura, plan=cast.plan, server=cast.server
    )
    factories.make_account(domain, "box")
    assert factories.settle()[0] == "domain:new.example"


# Operator's haste.


def test_apply_now_brings_what_is_needed_too(com: Domain) -> None:
    account = factories.make_account(com, "myinfo")
    factories.make_forward(com, "info", account.address)
    Change.objects.filter(key="address:info@example.com").hurry()
    assert [change.key for change in Change.objects.claim_due(com.server)] == [account.key]


def test_apply_now_ends_the_pause_of_a_failing_change(server: MailServer) -> None:
    propose(server, None, mailbox())
    factories.settle(server, status=Status.UNCONFIRMED)
    Change.objects.all().hurry()
    assert len(Change.objects.claim_due(server)) == 1


# What the apps do once a server has confirmed.


def test_edit_made_while_a_change_is_applied_keeps_the_row(com: Domain, tanaka: Account) -> None:
    tanaka.delete_later()
    factories.come_due()
    Change.objects.claim_due(com.server)
    forward = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    forward.withdraw()
    factories.come_due()
    claimed = Change.objects.claim_due(com.server)
    factories.make_forward(com, "info", "y@example.org")
    outcomes = {change.key: Outcome(Status.APPLIED) for change in claimed}
    apply._settle(cast("Host", None), claimed, outcomes, apply.Report())
    forward.refresh_from_db()
    assert forward.leads_to() == ["y@example.org"]
    assert factories.settle() == ["address:info@example.com"]


def test_claimed_change_cannot_be_taken_back(com: Domain, tanaka: Account) -> None:
    tanaka.delete_later()
    change = factories.pending(tanaka.key)
    factories.come_due()
    Change.objects.claim_due(com.server)
    with pytest.raises(TooLate):
        cancel([change])


def test_record_that_no_longer_passes_its_grammar_is_refused_alone(server: MailServer) -> None:
    change = propose(server, None, mailbox())
    assert change is not None
    Change.objects.filter(pk=change.pk).update(after={"name": "../loose"})
    with pytest.raises(RecordError):
        Change.objects.get(pk=change.pk).entry()


def test_record_of_another_key_is_refused() -> None:
    with pytest.raises(RecordError):
        record_from("mailbox:other", mailbox().value())


def test_account_that_is_taken_up_again_after_its_deletion_is_another_one(com: Domain) -> None:
    first = factories.make_account(com, "info")
    factories.settle()
    first.delete_later()
    factories.settle()
    second = factories.make_account(com, "info")
    assert first.record().mailbox_id != second.record().mailbox_id


def test_account_that_is_being_deleted_cannot_be_deleted_again(tanaka: Account) -> None:
    tanaka.delete_later()
    with pytest.raises(ValidationError) as refused:
        tanaka.delete_later()
    assert refused.value.code == "leaving"
    assert Change.objects.pending().count() == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by what is there")
def test_an_edit_reads_no_past_changes(cast: Cast) -> None:
    account = factories.make_account(cast.com, "info")
    with CaptureQueriesContext(connection) as queries:
        factories.make_forward(cast.com, "sales", account.address)
    asked = [query["sql"] for query in queries if "propagation_" in query["sql"]]
    selects = [sql for sql in asked if sql.startswith("SELECT") and "mailserver" not in sql]
    assert selects
    with connection.cursor() as cursor:
        for sql in selects:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            steps = [row[3] for row in cursor.fetchall()]
            assert not [step for step in steps if step.startswith("SCAN")], (sql, steps)
            assert not [step for step in steps if "(server_id=?)" in step], (sql, steps)
