"""Bring a mail server up to date with the changes that are due.

Safe to run twice, late, or beside itself: the server's lock lets one through at a
time, the server's store ignores a change it has and lets the newest win, and a
change is marked APPLIED only after the server itself confirmed it. A worker
killed anywhere in between leaves its changes APPLYING; the next run claims and
writes them again.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction

from mailhost.host import Busy, Host, Outcome, Status
from mailhost.records import Entry, RecordError
from propagation.models import Cause, Change, ChangeState, MailServer, one_at_a_time, parts
from propagation.numbers import number_above
from propagation.sources import source_of

log = logging.getLogger(__name__)


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
                _settle(host, batch, _outcomes(host, batch), report)
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
    except Exception as error:
        # Whatever it was, the changes stay open and are tried again, and the operator reads why.
        log.exception("a batch of %d changes stopped", len(batch))
        stopped = Outcome(Status.UNCONFIRMED, f"{type(error).__name__}: {error}")
        return {**dict.fromkeys([entry.key for entry in entries], stopped), **refused}


def _settle(
    host: Host, batch: Sequence[Change], outcomes: dict[str, Outcome], report: Report
) -> None:
    """Mark what the server confirmed as applied, and plan another attempt for the rest."""
    failed: dict[Outcome, list[Change]] = defaultdict(list)
    done, stale = [], []
    for change in batch:
        outcome = outcomes[change.key]
        if outcome.status == Status.APPLIED:
            done.append(change)
        elif outcome.status == Status.STALE:
            stale.append(change)
        else:
            failed[outcome].append(change)
    with transaction.atomic():
        # No edit comes between seeing that a record has no newer one and removing its row.
        one_at_a_time()
        unheard = _tell_sources(done)
        _mark_applied([change for change in done if change.key not in unheard], report)
        _number_anew(host, stale)
    for outcome, changes in failed.items():
        report.failed += _postpone(changes, _cause(outcome), outcome.reason)
    for change in done:
        if change.key in unheard:
            report.failed += _postpone([change], Cause.SILENT, unheard[change.key])


def _mark_applied(changes: Sequence[Change], report: Report) -> None:
    for pks in parts([change.pk for change in changes]):
        applying = Change.objects.filter(pk__in=pks, state=ChangeState.APPLYING)
        report.applied += applying.end(ChangeState.APPLIED)


def _number_anew(host: Host, stale: Sequence[Change]) -> None:
    """Send again, under a fresh number, what the server took for older than what it has.

    That happens when the panel was brought back from a backup: it counts from an
    older number than the server has seen. A change that a newer one of the panel's
    own has overtaken needs nothing.
    """
    if not stale:
        return
    number_above(host.highest_change())
    for change in stale:
        newer = Change.objects.of(change.server_id, [change.key]).filter(pk__gt=change.pk)
        # Read as a whole, and before its secrets are forgotten.
        again = None if newer.exists() else Change.objects.get(pk=change.pk).again()
        Change.objects.filter(pk=change.pk).end(ChangeState.SUPERSEDED)
        if again:
            again.save(force_insert=True)


def _postpone(changes: Iterable[Change], cause: Cause, reason: str) -> int:
    count = 0
    for pks in parts([change.pk for change in changes]):
        count += Change.objects.filter(pk__in=pks).postpone(cause, reason)
    return count


def _cause(outcome: Outcome) -> Cause:
    """Return the customer's side of what the server answered."""
    if outcome.code == "loop":
        return Cause.CIRCLE
    return Cause.REFUSED if outcome.status == Status.REFUSED else Cause.SILENT


def _tell_sources(done: Sequence[Change]) -> dict[str, str]:
    """Let each app finish its part, except where a newer edit already waits.

    Returns why, by key, for changes whose app could not: they alone stay open.
    """
    server = {change.server_id for change in done}
    applying = Change.objects.open().filter(server__in=server, state=ChangeState.APPLYING)
    waiting = Change.objects.pending().filter(server__in=server, key__in=applying.values("key"))
    edited = set(waiting.values_list("key", flat=True))
    by_kind = defaultdict(list)
    for change in done:
        if change.key not in edited:
            by_kind[change.key.partition(":")[0]].append(change)
    failed: dict[str, str] = {}
    for changes in by_kind.values():
        if _told(changes):
            for change in changes:
                if reason := _told([change]):
                    failed[change.key] = reason
    return failed


def _told(changes: Sequence[Change]) -> str:
    """Tell one app of its changes, all or none; return why it could not finish, or "".

    Whatever goes wrong there holds up these changes alone: never those of other customers.
    """
    try:
        with transaction.atomic():
            source_of(changes[0].key).applied(changes)
    except Exception as error:
        log.exception("%d confirmed changes could not be finished", len(changes))
        return f"{type(error).__name__}: {error}"
    return ""
