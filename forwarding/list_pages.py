"""What pages show of mailing lists, in a fixed number of queries whatever their length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.timezone import now

from accounts.models import Domain
from accounts.names import readable_address
from forwarding import routes
from forwarding.models import MailingList, Member, Posters
from forwarding.pages import dead_ends
from propagation.progress import Progress, progress_of
from propagation.sources import source_of

#: Members named whose copies came back, and for how long after the last one.
MOST_RETURNED = 20
_RETURNED_SHOWN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class ListRow:
    """One line of the lists."""

    list: MailingList
    members: int
    progress: Progress
    take_back: bool


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member, and what is to be known about the address."""

    id: int
    address: str
    waiting: bool
    nowhere: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """A member whose copies came back: how many, and when the last did."""

    id: int
    address: str
    times: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Reached:
    """A list that a message comes to, and why it would be refused there, "" where it is not."""

    address: str
    refused: str = ""


def rows(domain: Domain, lists: Sequence[Any]) -> list[ListRow]:
    """Put together what the page shows; `lists` come with their `member_count`."""
    for row in lists:
        row.domain = domain
    progress = progress_of(domain.server_id, [row.key for row in lists])
    lasting = _lasting(progress.values())
    return [
        ListRow(
            row,
            row.member_count,
            progress[row.key],
            progress[row.key].pending and row.key not in lasting,
        )
        for row in lists
    ]


def _lasting(progress: Iterable[Progress]) -> set[str]:
    """Return the keys of the lists whose pending change only its members could undo."""
    pending = [one.change for one in progress if one.pending and one.change]
    return MailingList.objects.own_leaves(pending)


def one(row: MailingList, members: Sequence[Member]) -> dict[str, Any]:
    """Return what the page of one list shows of it, and of these members."""
    progress = progress_of(row.domain.server_id, [row.key])[row.key]
    change = progress.change
    # Of a list that is all new, or about to go, nothing is to be said of each.
    edited = change if change and not change.creates and not change.removes else None
    live = set((edited.before or {}).get("members", []) if edited else ())
    addresses = [member.address for member in members]
    nowhere, closed = dead_ends(addresses), _closed_lists(addresses)
    return {
        "progress": progress,
        "take_back": progress.pending and row.key not in _lasting([progress]),
        "words": source_of(row.key).describe(change) if change and not change.creates else "",
        "count": row.members.filter(left_at=None).count(),
        "owner": readable_address(row.owner_address),
        **_returned(row),
        "rows": [
            MemberRow(
                member.pk,
                readable_address(member.address),
                edited is not None and member.address not in live,
                member.lowered in nowhere,
                member.lowered in closed,
            )
            for member in members
        ],
    }


def _returned(row: MailingList) -> dict[str, Any]:
    """Return the members whose copies came back lately, the latest first, and how many more."""
    recent = now() - _RETURNED_SHOWN
    found = row.members.filter(left_at=None, came_back_at__gte=recent).order_by("-came_back_at")
    shown = [
        Returned(member.pk, readable_address(member.address), member.came_back, member.came_back_at)
        for member in found[:MOST_RETURNED]
        if member.came_back_at
    ]
    more = found.count() - len(shown) if len(shown) == MOST_RETURNED else 0
    return {"returned": shown, "more_returned": more}


def _closed_lists(addresses: Iterable[str]) -> set[str]:
    """Return which of these are lists that take no mail from another list."""
    return {row.address for row in _lists_at(addresses) if row.posters != Posters.ANYONE}


def _lists_at(addresses: Iterable[str]) -> list[MailingList]:
    """Return the lists that have these addresses."""
    wanted = {address.lower() for address in addresses}
    found = MailingList.objects.filter(
        local_part__in={address.rpartition("@")[0] for address in wanted},
        domain__name__in={address.rpartition("@")[2] for address in wanted},
    )
    return [row for row in found.select_related("domain") if row.address in wanted]


def lists_among(recipients: Iterable[str], sender: str) -> list[Reached]:
    """Return the mailing lists that mail of `sender` to these comes to, directly or forwarded."""
    wanted = {address.lower() for address in recipients}
    hosted = Domain.objects.filter(name__in={address.rpartition("@")[2] for address in wanted})
    names = set(hosted.values_list("name", flat=True))
    near = sorted(address for address in wanted if address.rpartition("@")[2] in names)
    if not near:
        return []
    try:
        found = routes.load(near[: routes.MAX_ADDRESSES])
    except ValidationError:
        # So many addresses lead on that looking at all of them is not worth the time.
        return []
    reached = {behind for address in near for behind in found.lists_behind(address)}
    lists = sorted(_lists_at(reached), key=lambda row: row.address)
    # Of all members only the one who asks matters.
    present = Member.objects.filter(left_at=None, lowered=sender.lower(), mailing_list__in=lists)
    joined = set(present.values_list("mailing_list", flat=True))
    return [
        Reached(readable_address(row.address), _refusal(row, sender, row.pk in joined))
        for row in lists
    ]


def _refusal(row: MailingList, sender: str, is_member: bool) -> str:
    """Return the label of who may write to the list, if this sender may not."""
    record = row.record_with([sender] if is_member else ())
    return "" if record.admits(sender) else str(Posters(row.posters).label)
