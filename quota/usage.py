"""Take over what the mail servers know of their mailboxes: a minute's news at a time.

Only what changed since the last time is read, and written in bulk. It may run twice or late: each
portion moves the cursor in the transaction that writes it, and only from where it was read. Of two
runs at once the second finds the cursor moved and leaves the rest to the first.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction
from django.utils.timezone import now

from accounts.models import Account
from mailhost.usage import figures
from mailhost.usage.waiting import Waiting, waiting
from propagation.models import MailServer, parts
from quota import warnings
from quota.models import MailboxUsage, UsageReport, WaitingMail, on_server

#: Copies named of those that wait for one mailbox: the longest waiting.
COPIES_NAMED = 5


def collect(server: MailServer) -> int:
    """Take over one server's news, with the warnings that follow; return how many rows were news.

    Raises NotHere on a machine without this server, and a HostError if its figures or its
    queue cannot be read.
    """
    with server.host() as host:
        root = host.root
    report, _ = UsageReport.objects.get_or_create(server=server)
    begun = now()
    written = _take_over(server, report, root)
    _take_over_waiting(server, root)
    warnings.announce(server)
    UsageReport.objects.filter(pk=report.pk).update(collected_at=begun)
    return written


def recount(server: MailServer, accounts: Iterable[Account] | None = None) -> int:
    """Have the server ask Dovecot now, and take the answers over; return how many were asked.

    Of all its mailboxes, or of these accounts. Raises as `collect` does.
    """
    with server.host() as host:
        root = host.root
    names = None if accounts is None else [account.name for account in accounts]
    try:
        return figures.recount(root, names)
    finally:
        # Where some could not be counted, the others were.
        collect(server)


def _take_over(server: MailServer, report: UsageReport, root: Path) -> int:
    """Write what is news since the report's cursor, and move it; return how many rows."""
    written, cursor, more = 0, report.cursor, True
    while more:
        news = figures.read(root, cursor)
        with transaction.atomic():
            # First, for the lock on the row: another run waits here and then finds it moved.
            same = UsageReport.objects.filter(pk=report.pk, cursor=cursor)
            if not same.update(cursor=news.cursor or cursor):
                break
            rows = _rows(server, news.rows)
            _put(rows)
            warnings.follow(rows)
        written += len(rows)
        more = news.more and news.cursor != cursor
        cursor = news.cursor or cursor
    return written


def _rows(server: MailServer, told: Iterable[figures.Usage]) -> list[MailboxUsage]:
    """Return rows of the accounts that there are; a freed name has no part in it."""
    by_id = {uuid.UUID(one.mailbox_id): one for one in told if one.limit > 0}
    known = Account.objects.filter(server=server, pk__in=by_id).order_by()
    return [
        MailboxUsage(
            account_id=pk,
            used=by_id[pk].used,
            messages=by_id[pk].messages,
            limit=by_id[pk].limit,
            asked_at=_moment(by_id[pk].asked_at),
        )
        for pk in known.values_list("pk", flat=True)
    ]


def _put(rows: Sequence[MailboxUsage]) -> None:
    """Insert rows, or bring those that are there up to date."""
    MailboxUsage.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["account"],
        update_fields=["used", "messages", "limit", "asked_at"],
    )


def _take_over_waiting(server: MailServer, root: Path) -> None:
    """Bring up to date which copies wait for room; where nothing is full, nobody asks Postfix."""
    known = WaitingMail.objects.filter(on_server(server))
    if not MailboxUsage.objects.of_server(server).full().exists() and not known.exists():
        return
    rows = _waiting_rows(server, waiting(root))
    for some in parts(rows, 1000):
        WaitingMail.objects.bulk_create(
            some,
            update_conflicts=True,
            unique_fields=["account"],
            update_fields=["count", "size", "oldest_at", "first"],
        )
    still = {row.account_id for row in rows}
    gone = [pk for pk in known.order_by().values_list("pk", flat=True) if pk not in still]
    for some in parts(gone, 1000):
        WaitingMail.objects.filter(pk__in=some).delete()


def _waiting_rows(server: MailServer, copies: Iterable[Waiting]) -> list[WaitingMail]:
    """Return one row for each account that has copies waiting."""
    by_owner: dict[tuple[str, str], list[Waiting]] = {}
    for copy in copies:
        by_owner.setdefault((copy.account, copy.domain), []).append(copy)
    rows = []
    columns = ("pk", "name", "domain__name", "created_at")
    for some in parts(sorted({name for name, _ in by_owner}), 10_000):
        owners = Account.objects.filter(server=server, name__in=some).order_by()
        for pk, name, domain, created_at in owners.values_list(*columns):
            # A copy from before it came to be was for an earlier account of the name.
            own = [
                copy
                for copy in by_owner.get((name, domain), [])
                if _moment(copy.arrived) >= created_at
            ]
            if own:
                rows.append(_waiting_row(pk, own))
    return rows


def _waiting_row(account_id: uuid.UUID, copies: list[Waiting]) -> WaitingMail:
    copies = sorted(copies, key=lambda copy: copy.arrived)
    return WaitingMail(
        account_id=account_id,
        count=len(copies),
        size=sum(copy.size for copy in copies),
        oldest_at=_moment(copies[0].arrived),
        first=[
            {
                "sender": copy.sender[:254].replace("\0", ""),
                "size": copy.size,
                "arrived": copy.arrived,
            }
            for copy in copies[:COPIES_NAMED]
        ],
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
