"""What goes wrong between panel and server leaves the rest alone and is made good later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Domain
from forwarding.models import ForwardingAddress
from mailhost.host import Host, Outcome, Status
from mailhost.instance import missing_programs
from mailhost.records import Address, Entry
from propagation.apply import Report, apply_due
from propagation.models import Cause, Change, ChangeState, MailServer
from propagation.sources import source_of
from tests import factories
from tests.conftest import Cast
from tests.idle import idle_server

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class Place:
    """The cast's server with its directory; the domain example.com is there."""

    server: MailServer
    com: Domain
    root: Path

    def take(self, *entries: Entry) -> None:
        """Write entries on the server, behind the panel's back."""
        with Host(self.root) as host, host.lock():
            outcomes = host.apply(entries)
        assert {outcome.status for outcome in outcomes.values()} == {Status.APPLIED}

    def holds(self, key: str) -> tuple[int, Address | None]:
        """Return the number of the change that wrote an address there, and the address."""
        with Host(self.root) as host:
            number, record = host.record(key)
        assert record is None or isinstance(record, Address)
        return number, record

    def apply(self) -> Report:
        """Let the time come and the worker do its work."""
        factories.come_due(self.server)
        return apply_due(self.server)

    def live(self, local_part: str) -> ForwardingAddress:
        """Return an address of example.com that leads to x@example.org on the server too."""
        row = factories.make_forward(self.com, local_part, "x@example.org")
        assert self.apply().applied == 1
        return row


@pytest.fixture
def place(cast: Cast, settings: Settings) -> Iterator[Place]:
    if problem := missing_programs():
        pytest.skip(problem)
    with idle_server(factories.SERVER) as root:
        settings.MAILHOST_ROOT = str(root.parent)
        made = Place(cast.server, cast.com, root)
        domain = cast.com.record()
        made.take(Entry(domain.key, 1, domain))
        yield made


def far_ahead() -> int:
    """Return a number above all that the panel gave, in this test or in one before it."""
    return Change.objects.latest("pk").pk + 1_000_000


def states(key: str) -> list[str]:
    """Return the states of a record's changes, oldest first."""
    return list(Change.objects.filter(key=key).order_by("pk").values_list("state", flat=True))


class Broken(Host):
    """A server whose program has a fault that nobody thought of."""

    def apply(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        raise ZeroDivisionError("nobody thought of this")


# A fault in the server's program.


def test_unexpected_error_leaves_the_changes_open_and_the_next_run_applies_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [factories.make_forward(place.com, name, "x@example.org").key for name in ("a", "b")]
    with monkeypatch.context() as fault:
        fault.setattr(MailServer, "host", lambda _server: Broken(place.root))
        assert place.apply() == Report(failed=2)
    for change in Change.objects.filter(key__in=keys):
        assert (change.state, change.cause) == (ChangeState.APPLYING, Cause.SILENT)
        assert change.trouble == "ZeroDivisionError: nobody thought of this"
        assert change.attempts == 1
        assert change.retry_at is not None
        assert change.retry_at > now()
    assert place.apply() == Report()
    Change.objects.open().update(retry_at=now() - timedelta(seconds=1))
    assert place.apply() == Report(applied=2)
    assert [states(key) for key in keys] == [["applied"], ["applied"]]


# A fault in the panel's database.


@pytest.mark.parametrize("fault_of", [DatabaseError, ValueError])
def test_change_whose_app_cannot_finish_it_stays_open_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, fault_of: type[Exception]
) -> None:
    stuck, gone = place.live("stuck"), place.live("gone")
    source = source_of(stuck.key)
    finish = source.applied

    def fail(changes: Sequence[Change]) -> None:
        finish(changes)
        if any(change.key == stuck.key for change in changes):
            raise fault_of("the disk is full")

    stuck.withdraw()
    gone.withdraw()
    with monkeypatch.context() as fault:
        fault.setattr(source, "applied", fail)
        assert place.apply() == Report(applied=1, failed=1)
    assert list(ForwardingAddress.objects.values_list("local_part", flat=True)) == ["stuck"]
    assert states(gone.key) == ["applied", "applied"]
    change = Change.objects.open().get()
    assert (change.key, change.state, change.cause) == (stuck.key, "applying", Cause.SILENT)
    assert change.trouble == f"{fault_of.__name__}: the disk is full"
    Change.objects.retry()
    assert place.apply() == Report(applied=1)
    assert not ForwardingAddress.objects.exists()


# A panel that was brought back from a backup.


def test_change_that_the_server_takes_for_an_old_one_is_sent_again_with_a_higher_number(
    place: Place,
) -> None:
    row = place.live("info")
    seen = far_ahead()
    place.take(Entry(row.key, seen, Address("info", "example.com", ("lost@example.org",))))
    row.lead(["new@example.org"])
    asked = factories.pending(row.key)
    assert place.apply() == Report(applied=1)
    assert states(row.key) == ["applied", "superseded", "applied"]
    sent = Change.objects.filter(key=row.key).latest("pk")
    assert sent.pk > seen
    assert sent.group == asked.group
    assert place.holds(row.key) == (sent.pk, row.record())
    assert Change.objects.get(pk=asked.pk).ended_at is not None


def test_everything_after_such_a_change_counts_from_the_higher_number(place: Place) -> None:
    row = place.live("info")
    seen = far_ahead()
    place.take(Entry(row.key, seen, row.record()))
    row.lead(["new@example.org"])
    place.apply()
    row.lead(["newer@example.org"])
    assert factories.pending(row.key).pk > seen
    assert place.apply() == Report(applied=1)
    assert states(row.key)[-2:] == ["applied", "applied"]


def test_old_change_that_a_newer_one_has_overtaken_is_not_sent_again(place: Place) -> None:
    row = place.live("info")
    place.take(Entry(row.key, far_ahead(), row.record()))
    row.lead(["new@example.org"])
    factories.come_due()
    Change.objects.claim_due(place.server)
    row.lead(["newest@example.org"])
    assert apply_due(place.server) == Report()
    assert states(row.key) == ["applied", "superseded", "pending"]
    assert place.apply() == Report(applied=1)
    assert place.holds(row.key)[1] == Address("info", "example.com", ("newest@example.org",))


# Haste.


def test_retry_forgets_the_cause_and_hurries_nothing_that_waits(com: Domain) -> None:
    failing = factories.make_forward(com, "failing", "x@example.org")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    waiting = factories.make_forward(com, "waiting", "x@example.org")
    due = factories.pending(waiting.key).due_at
    assert Change.objects.all().retry() == 1
    change = Change.objects.get(key=failing.key)
    assert (change.cause, change.trouble, change.retry_at) == ("", "", None)
    assert [change.key for change in Change.objects.claim_due(com.server)] == [failing.key]
    assert factories.pending(waiting.key).due_at == due


def test_hurry_brings_what_is_needed_by_what_is_needed(com: Domain) -> None:
    factories.make_account(com, "box")
    factories.make_forward(com, "c", "box@example.com")
    factories.make_forward(com, "b", "c@example.com")
    factories.make_forward(com, "a", "b@example.com")
    idle = factories.make_forward(com, "idle", "x@example.org")
    assert Change.objects.filter(key="address:a@example.com").hurry() == 4
    due = Change.objects.pending().filter(due_at__lte=now())
    assert set(due.values_list("key", flat=True)) == {
        "mailbox:box",
        *(f"address:{name}@example.com" for name in "abc"),
    }
    assert factories.pending(idle.key).due_at > now()


def test_chain_is_announced_no_earlier_than_the_mailbox_at_its_end(com: Domain) -> None:
    account = factories.make_account(com, "box")
    for name, to in (("c", "box"), ("b", "c"), ("a", "b")):
        factories.make_forward(com, name, f"{to}@example.com")
    Change.objects.pending().update(due_at=now())
    account.set_password("another-long-word")
    due = factories.pending(account.key).due_at
    assert due > now()
    assert {change.due_at for change in Change.objects.pending()} == {due}
