"""What the Wednesday job and customers' jobs share: to be alone on a server, and to go on."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailhost import archive, locks
from mailhost.archive import Archive, ArchiveError
from mailhost.errors import HostError, host_errors
from propagation.models import MailServer
from quota.archiving import words
from quota.models import ArchiveJob, JobKind

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not done: a code of quota.archiving.words, and words for the operator."""

    code: str
    trouble: str


@contextmanager
def alone(root: Path, work: str) -> Iterator[bool]:
    """Keep others on this machine from the same work on a server; False: another is at it.

    The kernel frees the lock when the process dies.
    """
    with host_errors():
        lock = locks.take(root / f"{work}.lock")
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


def attempt(action: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return what an action of mailhost's archives returns, or the Failure that it ended with.

    One mailbox's trouble, of whatever kind, must not keep all others from being looked after.
    """
    try:
        return action(*args, **options)
    except HostError as error:
        return Failure(getattr(error, "code", "server_down"), str(error))
    except Exception as error:
        _log.exception("%s%r", action.__name__, args)
        return Failure(words.UNEXPECTED, f"{type(error).__name__}: {error}")


def finish(server: MailServer, root: Path) -> list[Archive]:
    """Finish what killed workers had begun; return the archives of it that no job asked for."""
    outcomes = attempt(archive.finish, root)
    if isinstance(outcomes, Failure):
        _log.warning("%s: unfinished archives stay so: %s", server, outcomes.trouble)
        return []
    return [made for made in outcomes if _finished(server, made) and not _was_a_job(server, made)]


def _finished(server: MailServer, outcome: Archive | ArchiveError) -> bool:
    if isinstance(outcome, ArchiveError):
        _log.warning("%s: an unfinished archive stays so: %s", server, outcome)
    return isinstance(outcome, Archive)


def _was_a_job(server: MailServer, made: Archive) -> bool:
    """Whether a customer had asked for it; then his job has ended."""
    mailbox = uuid.UUID(hex=made.mailbox_id)
    job = ArchiveJob.objects.open().filter(
        server=server, kind=JobKind.TAKE, mailbox_id=mailbox, started_at__isnull=False
    )
    for one in job:
        one.end(file_name=made.file_name, moved=made.messages, moved_bytes=made.mail_bytes)
        return True
    return False
