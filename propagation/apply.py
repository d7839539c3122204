"""Bring a mail server up to date with the changes that are due.

Safe to run twice, late, or beside itself: the server's lock lets one through at a
time, the server's store ignores a change it has and lets the newest win, and a
change is marked APPLIED only after the server itself confirmed it. A worker
killed anywhere in between leaves its changes APPLYING; the next run claims and
writes them again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from mailhost.host import Busy, Host, HostError, Outcome, Status
from mailhost.maps import MapError
from mailhost.records import Entry, RecordError
from propagation.models import Cause, Change, ChangeState, MailServer, one_at_a_time, parts
from propagation.sources import source_of

CONFIRMED = {Status.APPLIED, Status.STALE}


@dataclass(slots=True)
class Report:
    """How many changes a run applied, and how many it had to leave for later."""

    applied: int = 0
    failed: int = 0
    busy: bool = False


def apply_due(server: MailServer) -> Report:
    """Apply every change of `server` now due, on the machine that holds its directory.

    Raises NotHere on any other machine. Where another run is at work, returns at
    once with `busy` set: that run, or the next sweep, takes what is due.
    """
    report = Report()
    try:
        with server.host() as host, host.lock():
            # What a mailbox was needed for becomes due once it is applied: hence the loop.
            while batch := Change.objects.claim_due(server):
                _settle(batch, _outcomes(host, batch), report)
    except Busy:
        report.busy = True
    return report


def _outcomes(host: Host, batch: Sequence[Change]) -> dict[str, Outcome]:
    """Hand the batch to the server; a record that cannot even be read is refused alone.

    What stops the whole batch (a full disk, a map that cannot be written) is the
    reason of each; the server's store remembers how far it came.
    """
    entries: list[Entry] = []
    refused: dict[str, Outcome] = {}
    for change in batch:
        try:
            entries.append(change.entry())
        except RecordError as error:
            refused[change.key] = Outcome(Status.REFUSED, str(error))
    try:
        return {**host.apply(entries), **refused}
    except (HostError, MapError, OSError) as error:
        stopped = Outcome(Status.UNCONFIRMED, str(error))
        return {**dict.fromkeys([entry.key for entry in entries], stopped), **refused}


def _settle(batch: Sequence[Change], outcomes: dict[str, Outcome], report: Report) -> None:
    """Mark what the server confirmed as applied, and plan another attempt for the rest."""
    done = [change for change in batch if outcomes[change.key].status in CONFIRMED]
    with transaction.atomic():
        # No edit comes between seeing that a record has no newer one and removing its row.
        one_at_a_time()
        for pks in parts([change.pk for change in done]):
            report.applied += (Change.objects.filter(pk__in=pks, state=ChangeState.APPLYING)).end(
                ChangeState.APPLIED
            )
        _tell_sources(done)
    failed = defaultdict(list)
    for change in batch:
        if outcomes[change.key].status not in CONFIRMED:
            failed[outcomes[change.key]].append(change.pk)
    for outcome, pks in failed.items():
        for part in parts(pks):
            late = Change.objects.filter(pk__in=part)
            report.failed += late.postpone(_cause(outcome), outcome.reason)


def _cause(outcome: Outcome) -> Cause:
    """Return the customer's side of what the server answered."""
    if outcome.code == "loop":
        return Cause.CIRCLE
    return Cause.REFUSED if outcome.status == Status.REFUSED else Cause.SILENT


def _tell_sources(done: Sequence[Change]) -> None:
    """Let each app finish its part, except where a newer edit already waits."""
    edited: set[str] = set()
    for keys in parts([change.key for change in done]):
        waiting = Change.objects.pending().of(done[0].server_id, keys)
        edited.update(waiting.values_list("key", flat=True))
    by_kind = defaultdict(list)
    for change in done:
        if change.key not in edited:
            by_kind[change.key.partition(":")[0]].append(change)
    for changes in by_kind.values():
        source_of(changes[0].key).applied(changes)
