"""What the pages of archives show, in a fixed number of queries whatever their length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, BinaryIO

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet, Sum

from accounts.models import Account, Domain
from accounts.viewers import Viewer
from mailhost.archive import ArchiveError
from mailhost.archive.reading import Entry, entries, open_archive
from quota.archiving.words import ELSEWHERE, to_customer
from quota.models import (
    Archive,
    ArchiveChoice,
    ArchiveJob,
    ArchiveNews,
    ArchiveQuerySet,
    ArchiveRunResult,
    ArchiveState,
    MailboxUsage,
    told_lately,
)

PAGE_SIZE = 50
#: Messages on one page of an archive.
MESSAGES = 50
#: Seconds from an archive's beginning to its last change by us, at most.
_WRITING = 3600
#: Archives looked through at once by one process, and seconds that others wait for their turn.
READERS, _PATIENCE = 3, 2.0
_turns = BoundedSemaphore(READERS)
#: What of the last days is told on a domain's home page.
_TOLD = 5
#: Orders of the list, by the word in its address.
ORDERS = {"new": "-taken_at", "old": "taken_at", "account": "account_name", "size": "-file_bytes"}


class NotReadable(Exception):
    """This machine cannot read the file; the customer reads why, and what he can do instead."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of an archive's mail fits into its mailbox, by the last figures; sizes in bytes."""

    used: int
    limit: int

    @property
    def free(self) -> int:
        """What is free below the limit."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a full mailbox lately."""

    result: ArchiveRunResult
    reason: str


def archives_of(viewer: Viewer) -> ArchiveQuerySet:
    """Return the archives that somebody may see; those that were deleted nobody does."""
    archives: ArchiveQuerySet = viewer.domain.archives.exclude(state=ArchiveState.REMOVED)
    # By the mailbox and not by its name, which an earlier account may have had.
    return archives.filter(mailbox_id=viewer.account.pk) if viewer.account else archives


def jobs_of(viewer: Viewer) -> QuerySet[ArchiveJob]:
    """Return what was asked for of the archives and mailboxes that somebody may see."""
    jobs: QuerySet[ArchiveJob] = viewer.domain.archive_jobs.all()
    if viewer.account is None:
        return jobs
    own = viewer.account.pk
    return jobs.filter(Q(mailbox_id=own) | Q(archive__mailbox_id=own))


def page_of(viewer: Viewer, text: str, order: str, page: str | None) -> Page[Archive]:
    """Return a part of the archives, as they were found by an account's or file's name."""
    archives = archives_of(viewer)
    if text:
        archives = archives.filter(file_name__contains=text.partition("@")[0])
    archives = archives.order_by(ORDERS[order], "-pk")
    found = Paginator(archives, PAGE_SIZE).get_page(page)
    for one in found.object_list:
        one.domain = viewer.domain
    return found


def totals(domain: Domain, account: Account | None = None) -> dict[str, Any]:
    """Return how many archives the domain has, or one account of it, and what they occupy of
    its web space.
    """
    archives = domain.archives.kept()
    if account is not None:
        archives = archives.filter(mailbox_id=account.pk)
    kept = archives.aggregate(count=Count("pk"), size=Sum("file_bytes"))
    return {"kept": kept["count"], "kept_bytes": kept["size"] or 0}


def oldest_only(domain: Domain) -> bool:
    """Whether the domain's owner wants only the oldest mail taken."""
    return ArchiveChoice.objects.filter(domain=domain, oldest=True).exists()


def told(domain: Domain) -> list[Told]:
    """Return what became of the domain's full mailboxes within a week, for its home page."""
    found = told_lately(domain)[:_TOLD]
    return [Told(one, to_customer(one.code) if one.failed else "") for one in found]


def open_jobs(viewer: Viewer) -> list[ArchiveJob]:
    """Return what is being done just now with the archives and mailboxes that somebody may see."""
    moving = jobs_of(viewer).filter(pk__in=viewer.domain.archive_jobs.open())
    found = list(moving.select_related("archive").order_by("pk")[:10])
    for job in found:
        job.domain = viewer.domain
    return found


def room(account: Account, domain: Domain) -> Room:
    """Return what is free in an account's mailbox, as far as the figures tell."""
    usage = MailboxUsage.objects.filter(account=account).first()
    if usage is not None:
        return Room(usage.used, usage.limit)
    account.domain = domain
    return Room(0, account.size)


@contextmanager
def reading(archive: Archive) -> Iterator[BinaryIO]:
    """Open an archive's file, and close it; NotReadable where this machine cannot.

    A hostile one takes seconds to look through: a few at a time leave other pages their threads.
    """
    file = opened(archive)
    try:
        with file, _turn():
            yield file
    except ArchiveError as error:
        # It is there, and what is looked for is not in it.
        code = "archive_changed" if error.code == "no_archive" else error.code
        raise NotReadable(to_customer(code)) from error
    except OSError as error:
        raise NotReadable(_why(error)) from error


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(timeout=_PATIENCE):
        raise ArchiveError("busy", "Too many archives are being looked through.")
    try:
        yield
    finally:
        _turns.release()


def page_inside(archive: Archive, first: int) -> list[Entry]:
    """Return the messages from number `first` on, as many as a page shows; or NotReadable."""
    with reading(archive) as file:
        found, _more = entries(file, first, MESSAGES)
        if not found:
            raise NotReadable(to_customer("archive_changed"))
    return found


def opened(archive: Archive) -> BinaryIO:
    """Return an archive's file for reading; NotReadable where this machine cannot."""
    news = ArchiveNews.objects.filter(server=archive.server_id).first()
    if news is None or not news.homes_root:
        raise NotReadable(to_customer("server_down"))
    try:
        return open_archive(Path(news.homes_root), archive.domain.home, archive.file_name)
    except (ArchiveError, OSError) as error:
        raise NotReadable(_why(error)) from error


def tag_of(archive: Archive, file: BinaryIO) -> str:
    """Return what changes with the file's content: its SHA-256, as long as nobody touched it.

    Reading 2 GB to find that out would take too long. No client can set when a file was changed
    (ctime), so one that was replaced has another tag.
    """
    found = os.fstat(file.fileno())
    untouched = found.st_ctime <= archive.taken_at.timestamp() + _WRITING
    if untouched and found.st_size == archive.file_bytes:
        return archive.sha256
    return f"{found.st_ino:x}-{found.st_size:x}-{found.st_ctime_ns:x}"


def _why(error: Exception) -> str:
    code = error.code if isinstance(error, ArchiveError) else ELSEWHERE
    # From another machine no home is to be seen, from another user's process none to be read.
    return to_customer(ELSEWHERE if code.startswith("home_") else code)


def chosen(archive: Archive, numbers: list[int]) -> list[Entry]:
    """Return the messages at these places of an archive, which lie on one page of it."""
    if not numbers:
        return []
    first = min(numbers)
    with reading(archive) as file:
        found, _more = entries(file, first, max(numbers) - first + 1)
    wanted = set(numbers)
    return [entry for entry in found if entry.number in wanted]
