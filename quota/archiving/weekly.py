"""The Wednesday job: what is full is archived, so that it can receive again (manual, 5.4).

Beat, cron, the operator's button and the minute's look after what was missed all come in by
`run_week`. A run is a row before it begins. Of two on one server the second leaves it to the first;
what a killed one left is finished by the next.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from django.db.models import Q
from django.utils.timezone import localdate, now

from accounts.models import Account, Domain
from mailhost import archive
from mailhost.archive import Archive
from mailhost.errors import HostError
from mailhost.usage import figures
from mailhost.usage.figures import Usage
from propagation.models import MailServer
from quota import wednesday
from quota.archiving import news, told
from quota.archiving.doing import Failure, alone, attempt, finish
from quota.archiving.words import INTERRUPTED
from quota.models import ArchiveChoice, ArchiveNews, ArchiveRun, ArchiveRunResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run has come: so many of so many, and what became of the last one."""

    number: int
    of: int
    result: ArchiveRunResult


Tell = Callable[[Step], Any]


def _silent(_step: Step) -> None:
    """Tell nobody."""


def run_week(server: MailServer, *, by: Any = None, tell: Tell = _silent) -> ArchiveRun | None:
    """Do the server's run for the last Wednesday, unless that has been done.

    Return the run, or None where there is nothing to do or another process is at it. Raises
    NotHere on a machine without this server, and HostError if nobody can say what is full.
    """
    with server.host() as host:
        root = host.root
    day = wednesday.latest(now())
    with alone(root, "archiving") as is_alone:
        if not is_alone:
            return None
        run = ArchiveRun.objects.of_week(server, day, by=by)
        _end_interrupted(server)
        if run.finished_at is not None:
            return None
        _carry_out(run, root, None, None, tell)
    news.collect(server)
    return run


def run_now(
    server: MailServer,
    *,
    accounts: Collection[str] | None = None,
    oldest: bool | None = None,
    by: Any = None,
    tell: Tell = _silent,
) -> ArchiveRun | None:
    """Archive what is full on a server, or those of the named mailboxes that are, at once.

    `oldest`: only until half is free, or all; None: as each domain's owner chose. Returns None
    where another process is at it. Raises as run_week does.
    """
    with server.host() as host:
        root = host.root
    with alone(root, "archiving") as is_alone:
        if not is_alone:
            return None
        _end_interrupted(server)
        run = ArchiveRun.objects.create(server=server, day=localdate(), weekly=False, asked_by=by)
        _carry_out(run, root, accounts, oldest, tell)
    news.collect(server)
    return run


def full_mailboxes(server: MailServer, accounts: Collection[str] | None = None) -> list[Usage]:
    """Return what a run would take: all that is full on a server, or those of the named ones."""
    with server.host() as host:
        return _full(host.root, accounts)


def look_after(server: MailServer) -> None:
    """Do what has come due on a server: a run that was missed or asked for, failures once more.

    A run that was missed is made up on the same Wednesday; later only the operator begins it.
    """
    moment = now()
    day = wednesday.latest(moment)
    run = ArchiveRun.objects.filter(server=server, weekly=True, day=day).first()
    if run is None:
        due = wednesday.is_the_day(day, moment) and _looked_after(server, day)
    else:
        due = run.finished_at is None
    if due:
        run_week(server)
    retry(server)
    with server.host() as host, alone(host.root, "archiving") as is_alone:
        if is_alone:
            # What the operator's own commands left.
            finish(server, host.root)


def ask_for(server: MailServer, *, by: Any) -> ArchiveRun | None:
    """Write down that the last Wednesday is to be made up; None where it was done."""
    run = ArchiveRun.objects.of_week(server, wednesday.latest(now()), by=by)
    return run if run.finished_at is None else None


def missed(moment: Any = None) -> list[tuple[MailServer, date]]:
    """Return the servers whose last Wednesday nobody looked after, to be made up by hand."""
    moment = moment or now()
    day = wednesday.latest(moment)
    if wednesday.is_the_day(day, moment):
        # It is being made up by itself, until midnight.
        return []
    done = ArchiveRun.objects.filter(weekly=True, day=day).values("server")
    known = ArchiveNews.objects.filter(since__lt=wednesday.run_on(day))
    servers = MailServer.objects.filter(archivenews__in=known).exclude(pk__in=done)
    return [(server, day) for server in servers]


def retry(server: MailServer) -> int:
    """Try again what failed and whose pause is over; return how many it were."""
    with server.host() as host:
        root = host.root
    due = ArchiveRunResult.objects.to_retry(server)
    if not due.exists():
        return 0
    with alone(root, "archiving") as is_alone:
        if not is_alone:
            return 0
        finish(server, root)
        usage = {one.mailbox_id: one for one in _full(root, None)}
        tried = list(due.select_related("run", "domain"))
        for result in tried:
            full = usage.get(result.mailbox_id.hex)
            if full is None:
                _note(result, Failure("nothing_to_take", ""))
            else:
                _take(result, root, full, None)
    news.collect(server)
    return len(tried)


def _looked_after(server: MailServer, day: date) -> bool:
    """Whether the server was the panel's to look after when that Wednesday's hour came."""
    return ArchiveNews.objects.filter(server=server, since__lt=wednesday.run_on(day)).exists()


def _full(root: Path, accounts: Collection[str] | None) -> list[Usage]:
    full = figures.full(root)
    return [one for one in full if accounts is None or one.account in accounts]


def _end_interrupted(server: MailServer) -> None:
    """End what nobody goes on with: killed runs, but for that of the present week."""
    day = wednesday.latest(now())
    for run in ArchiveRun.objects.open().filter(~Q(weekly=True, day=day), server=server):
        run.end(INTERRUPTED)


def _carry_out(
    run: ArchiveRun,
    root: Path,
    accounts: Collection[str] | None,
    oldest: bool | None,
    tell: Tell,
) -> None:
    """Take one full mailbox after the other. A run that was begun before goes on where it was."""
    _note_finished(run, root)
    run.begin(late=run.weekly and wednesday.is_late(run.day, now()))
    try:
        full = _full(root, accounts)
    except HostError as error:
        _not_now(run, str(error))
        raise
    before = set(run.results.values_list("mailbox_id", flat=True))
    waiting = [one for one in full if uuid.UUID(hex=one.mailbox_id) not in before]
    run.found = len(before) + len(waiting)
    run.save(update_fields=["found"])
    domains = Domain.objects.in_bulk([one.domain for one in waiting], field_name="name")
    for number, usage in enumerate(waiting, 1):
        result = _result(run, usage.mailbox_id, usage.account, usage.domain, domains)
        _take(result, root, usage, oldest)
        tell(Step(number, len(waiting), result))
    run.end()


def _not_now(run: ArchiveRun, trouble: str) -> None:
    """Let admin show why nothing is done; the week's run stays open, for the next minute."""
    if not run.weekly:
        run.end(trouble)
    elif run.trouble != trouble[:500]:
        run.trouble = trouble[:500]
        run.save(update_fields=["trouble"])


def _result(
    run: ArchiveRun, mailbox_id: str, account: str, domain: str, domains: dict[str, Domain]
) -> ArchiveRunResult:
    return ArchiveRunResult(
        run=run,
        mailbox_id=uuid.UUID(hex=mailbox_id),
        address=f"{account}@{domain}",
        domain=domains.get(domain),
    )


def _take(result: ArchiveRunResult, root: Path, usage: Usage, oldest: bool | None) -> None:
    """Archive one mailbox, and note and tell what came of it."""
    if oldest is None:
        chosen = ArchiveChoice.objects.filter(domain=result.domain_id).first()
        oldest = chosen is not None and chosen.oldest
    _note(result, attempt(archive.take, root, usage.account, oldest=oldest))


def _note(result: ArchiveRunResult, outcome: Archive | Failure) -> None:
    """Write down what came of a mailbox; who has it is told of the first failure and of the end."""
    told_before = bool(result.code)
    result.attempts += 1
    result.ended_at, result.retry_at = now(), None
    if isinstance(outcome, Failure):
        result.code, result.trouble = outcome.code, outcome.trouble[:500]
        again = result.ended_at + result.pause()
        if result.failed and wednesday.is_the_day(result.run.day, again):
            result.retry_at = again
    else:
        result.code = result.trouble = ""
        result.file_name = outcome.file_name
        result.messages, result.mail_bytes = outcome.messages, outcome.mail_bytes
    result.save()
    account = Account.objects.filter(pk=result.mailbox_id).select_related("domain__customer__user")
    for one in account:
        if not result.code:
            told.archived(one, outcome.file_name, outcome.messages, outcome.mail_bytes)  # type: ignore[union-attr]
        elif result.failed and not told_before:
            told.failed(one, result.code, again=result.retry_at is not None)


def _note_finished(run: ArchiveRun, root: Path) -> None:
    """Finish what a killed worker left, and put down what was this run's."""
    for made in finish(run.server, root):
        if run.started_at is None or made.taken_at < run.started_at.timestamp():
            continue
        domains = Domain.objects.in_bulk([made.domain], field_name="name")
        result = run.results.filter(mailbox_id=uuid.UUID(hex=made.mailbox_id)).first()
        _note(result or _result(run, made.mailbox_id, made.account, made.domain, domains), made)
