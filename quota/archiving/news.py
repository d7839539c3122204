"""Take over what a mail server knows of its archives: what is new since the last time.

So archives that the operator made by `mailhost` and files that were deleted by FTP appear as well.
It may run twice or late: the cursor moves after the rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.utils.timezone import now

from accounts.models import Domain
from mailhost import archive
from mailhost.homes import root_of
from propagation.models import MailServer, parts
from quota.archiving.doing import alone
from quota.models import Archive, ArchiveNews

#: How often each file is looked for: by FTP it can go at any time.
_LOOK = timedelta(days=1)
#: Rows in one transaction: nobody waits long for another's writing.
_TOGETHER = 2000
_KEY = ["server", "number"]
_CHANGING = ["state", "account_name", "file_name", "domain", "file_bytes"]


def collect(server: MailServer) -> int:
    """Take over one server's archives; return how many were news, 0 where another is at it.

    Raises NotHere on a machine without this server, and HostError if they cannot be read.
    """
    with server.host() as host:
        root, homes = host.root, root_of(host.root, host.config)
    with alone(root, "archive-news") as is_alone:
        if not is_alone:
            return 0
        state, _made = ArchiveNews.objects.get_or_create(server=server)
        begun = now()
        if state.verified_at is None or begun - state.verified_at >= _LOOK:
            archive.verify(root)
            state.verified_at = begun
        written, cursor = _take_over(server, state, root)
        # Not where it was deleted meanwhile: it shall bring everything again.
        ArchiveNews.objects.filter(pk=state.pk, cursor=cursor).update(
            collected_at=begun,
            verified_at=state.verified_at,
            homes_root=str(homes),
        )
    return written


def _take_over(server: MailServer, state: ArchiveNews, root: Path) -> tuple[int, str]:
    """Write what is news since the cursor, and move it; return how many rows, and the cursor."""
    written, cursor = 0, state.cursor
    while True:
        found, following = archive.news(root, cursor)
        written += _write(server, found)
        same = ArchiveNews.objects.filter(pk=state.pk, cursor=cursor)
        if not found or not same.update(cursor=following):
            return written, cursor
        cursor = following


def _write(server: MailServer, found: Iterable[archive.Archive]) -> int:
    """Insert archives, or bring those that are there up to date; return how many."""
    found = list(found)
    names = sorted({one.domain for one in found})
    domains: dict[str, int] = {}
    for some in parts(names, 10_000):
        domains |= dict(Domain.objects.filter(name__in=some).values_list("name", "pk"))
    rows = [_row(server, one, domains[one.domain]) for one in found if one.domain in domains]
    for some in parts(rows, _TOGETHER):
        Archive.objects.bulk_create(
            some, update_conflicts=True, unique_fields=_KEY, update_fields=_CHANGING
        )
    return len(rows)


def _row(server: MailServer, one: archive.Archive, domain_id: int) -> Archive:
    return Archive(
        server=server,
        number=one.id,
        domain_id=domain_id,
        mailbox_id=uuid.UUID(hex=one.mailbox_id),
        account_name=one.account,
        file_name=one.file_name,
        taken_at=datetime.fromtimestamp(one.taken_at, UTC),
        messages=one.messages,
        mail_bytes=one.mail_bytes,
        file_bytes=one.file_bytes,
        sha256=one.sha256,
        state=one.state,
    )
