"""What customers ask for by the pages: archive a mailbox now, put messages back, delete an archive.

The page writes an `ArchiveJob` and sends a message to the server's worker, which does all that
waits, one after the other. The row is the truth: the minute's look after does what a lost message
or a killed worker left.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.models import Account, Domain
from mailhost import archive
from propagation.models import MailServer
from quota import usage
from quota.archiving import news
from quota.archiving.doing import Failure, alone, attempt, finish
from quota.models import Archive, ArchiveJob, JobKind

_log = logging.getLogger(__name__)


def archive_now(account: Account, domain: Domain, *, oldest: bool, by: Any) -> ArchiveJob:
    """Ask for an account's mail to be archived, whether it is full or not."""
    return _ask(
        domain=domain,
        kind=JobKind.TAKE,
        mailbox_id=account.pk,
        account_name=account.name,
        oldest=oldest,
        asked_by=by,
    )


def put_back(archived: Archive, *, numbers: list[int] | None, by: Any) -> ArchiveJob:
    """Ask for an archive's messages to be put back, all or those at these places."""
    return _ask(
        domain=archived.domain,
        kind=JobKind.PUT_BACK,
        archive=archived,
        mailbox_id=archived.mailbox_id,
        account_name=archived.account_name,
        numbers=numbers,
        asked_by=by,
    )


def delete(archived: Archive, *, by: Any) -> ArchiveJob:
    """Ask for an archive to be deleted."""
    return _ask(
        domain=archived.domain,
        kind=JobKind.DELETE,
        archive=archived,
        account_name=archived.account_name,
        file_name=archived.file_name,
        asked_by=by,
    )


def do_waiting(server: MailServer) -> int:
    """Do all that waits on a server, one after the other; return how many.

    Raises NotHere on a machine without this server.
    """
    with server.host() as host:
        root = host.root
    done = 0
    with alone(root, "archive-jobs") as is_alone:
        if not is_alone:
            # Who is at it looks for waiting ones until there are none.
            return 0
        if ArchiveJob.objects.killed(server):
            finish(server, root)
        while job := ArchiveJob.objects.claim_next(server):
            job.end(**_result(job, root))
            _take_over(server, JobKind(job.kind))
            done += 1
    return done


def _ask(**fields: Any) -> ArchiveJob:
    job = ArchiveJob.objects.ask(**fields)
    # A function with a name: where the broker is down, Django says by it what failed.
    transaction.on_commit(lambda: _send(job.server), robust=True)
    return job


def _send(server: MailServer) -> None:
    """Let the server's worker begin at once."""
    from quota.tasks import do_archive_jobs

    do_archive_jobs.apply_async(args=(server.pk,), queue=server.queue, expires=600)


def _take_over(server: MailServer, kind: JobKind) -> None:
    """Let the pages know of the archive and of the mailbox at once; else the next minute does.

    Who has just made room looks next at what is free, and must not read the figure of before.
    """
    collections = (news.collect,) if kind == JobKind.DELETE else (news.collect, usage.collect)
    for collect in collections:
        outcome = attempt(collect, server)
        if isinstance(outcome, Failure):
            _log.warning("%s: %s", server, outcome.trouble)


def _result(job: ArchiveJob, root: Path) -> dict[str, Any]:
    """Do a job, and return what came of it by the names of its fields."""
    outcome = attempt(_ACTIONS[JobKind(job.kind)], job, root)
    if isinstance(outcome, Failure):
        return {"code": outcome.code, "trouble": outcome.trouble[:500]}
    result: dict[str, Any] = outcome
    return result


def _take(job: ArchiveJob, root: Path) -> dict[str, Any]:
    made = archive.take(root, job.account_name, oldest=job.oldest, require_full=False)
    return {"file_name": made.file_name, "moved": made.messages, "moved_bytes": made.mail_bytes}


def _put_back(job: ArchiveJob, root: Path) -> dict[str, Any]:
    assert job.archive is not None  # noqa: S101 - a constraint of the table
    done = archive.put_back(root, job.archive.number, job.numbers)
    return {
        "file_name": job.archive.file_name,
        "moved": done.put,
        "already": done.already,
        "no_room": done.no_room,
        "unreached": done.left,
    }


def _delete(job: ArchiveJob, root: Path) -> dict[str, Any]:
    assert job.archive is not None  # noqa: S101 - a constraint of the table
    archive.remove(root, job.archive.number)
    return {}


_ACTIONS = {JobKind.TAKE: _take, JobKind.PUT_BACK: _put_back, JobKind.DELETE: _delete}
