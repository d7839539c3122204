"""Who is warned that a mailbox fills up, each time once.

A warning and the notice that tells of it are written in one transaction, in that of the figures
where these give rise to it: a run that is killed leaves neither, and of two runs at once one
finds the other's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils.timezone import localtime, now

from propagation.models import MailServer, parts
from quota import notices
from quota.models import ALMOST, NEARLY, MailboxUsage, UsageReport, UsageWarning
from quota.wednesday import next_run

Kind = UsageWarning.Kind

#: A threshold's warning is over when usage has fallen so many points below it: what goes to and
#: fro at the edge is one crossing.
CLEAR = 5
#: Nobody is written to at night: Monday's and Tuesday's warnings go out from this hour on.
MORNING = 9

_THRESHOLDS = {Kind.NEARLY: NEARLY, Kind.ALMOST: ALMOST}
_DAYS = {0: Kind.MONDAY, 1: Kind.TUESDAY}


def follow(rows: Sequence[MailboxUsage]) -> None:
    """Give the warnings that these new figures call for, and end those that are over."""
    standing = set(
        UsageWarning.objects.filter(account__in=[row.account_id for row in rows])
        .filter(kind__in=_THRESHOLDS)
        .order_by()
        .values_list("account_id", "kind")
    )
    fresh, over = [], []
    for row in rows:
        percent = row.used * 100 // row.limit
        crossed = []
        for kind, threshold in _THRESHOLDS.items():
            stands = (row.account_id, kind.value) in standing
            if percent >= threshold and not stands:
                crossed.append(kind)
            elif percent < threshold - CLEAR and stands:
                over.append((row.account_id, kind.value))
        fresh += [(row, kind, kind is crossed[-1]) for kind in crossed]
    _end(over)
    _give(fresh)


def announce(server: MailServer) -> None:
    """On Monday and Tuesday, tell whose mailbox is full or nearly so what Wednesday brings.

    Who was told today that 95% is reached knows it already: that notice says the same.
    """
    local = localtime()
    kind = _DAYS.get(local.weekday())
    forget_passed(local.date())
    if kind is None or local.hour < MORNING:
        return
    with transaction.atomic():
        # For the lock: of two runs at once the second sees what the first has written.
        UsageReport.objects.select_for_update().filter(server=server).first()
        given = UsageWarning.objects.filter(account=OuterRef("pk"), kind=kind)
        due = MailboxUsage.objects.of_server(server).at_least(ALMOST)
        rows = list(due.exclude(Exists(given)).order_by("pk"))
        told = _told_today([row.account_id for row in rows], local.date())
        _give([(row, kind, row.account_id not in told) for row in rows], next_run(local).date())


def forget_passed(today: date) -> None:
    """Forget the warnings of Wednesdays that have passed."""
    UsageWarning.objects.filter(wednesday__lt=today).delete()


def _told_today(accounts: list[Any], today: date) -> set[Any]:
    told: set[Any] = set()
    for some in parts(accounts, 5000):
        found = UsageWarning.objects.filter(account__in=some, kind=Kind.ALMOST)
        times = found.order_by().values_list("account_id", "given_at")
        told |= {account for account, given_at in times if localtime(given_at).date() == today}
    return told


def _give(
    fresh: Iterable[tuple[MailboxUsage, UsageWarning.Kind, bool]], wednesday: date | None = None
) -> None:
    """Write warnings and, where the third says so, the notices that tell of them."""
    fresh, moment = list(fresh), now()
    UsageWarning.objects.bulk_create(
        [
            UsageWarning(
                account_id=row.account_id,
                kind=kind,
                used=row.used,
                limit=row.limit,
                given_at=moment,
                wednesday=wednesday,
            )
            for row, kind, _tell in fresh
        ],
        batch_size=1000,
    )
    notices.write([(row.account_id, kind.value, _values(row)) for row, kind, tell in fresh if tell])


def _values(row: MailboxUsage) -> dict[str, Any]:
    percent = row.used * 100 // row.limit
    return {
        "used": row.used,
        "limit": row.limit,
        "messages": row.messages,
        "percent": percent,
        "full": row.full,
    }


def _end(over: list[tuple[Any, str]]) -> None:
    for kind in _THRESHOLDS:
        accounts = [account for account, its in over if its == kind]
        if accounts:
            UsageWarning.objects.filter(account__in=accounts, kind=kind).delete()
