"""Where each record stands, for the pages: derived from the outbox, stored nowhere."""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.formats import date_format
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _

from propagation.models import Change, ChangeQuerySet, ChangeState, MailServer, due_from_now
from propagation.prepared import Prepared

# What the pages read of a change. The rest of it, made into objects, took longer than its query.
SHOWN = (
    "key", "before", "after", "due_at", "state", "ended_at", "retry_at", "cause", "renews_password",
)  # fmt: skip
# How long a row says when its last change went live.
RECENT = timedelta(hours=1)


class Stage(enum.StrEnum):
    """What a row shows, by word, shape and colour."""

    LIVE = "live"
    WAITING = "waiting"
    APPLYING = "applying"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of one record; the newest open change decides."""

    stage: Stage
    change: Change | None = None
    applied_at: datetime | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the record is live and nothing was lately heard of it."""
        return self == LIVE

    @property
    def pending(self) -> bool:
        """Whether the newest edit can still be taken back."""
        return self.change is not None and self.change.state == ChangeState.PENDING

    @property
    def removing(self) -> bool:
        """Whether the record is about to go."""
        return self.change is not None and self.change.removes

    @property
    def creating(self) -> bool:
        """Whether the server has never held the record."""
        return self.change is not None and self.change.creates

    @property
    def never_there(self) -> bool:
        """Whether the record could be deleted at once, since no server has heard of it."""
        return self.pending and self.creating

    @property
    def due_at(self) -> datetime | None:
        """When the change is to be live."""
        return None if self.change is None else self.change.due_at

    @property
    def minutes_left(self) -> int:
        """Whole minutes until then, rounded up; 0 when it is due."""
        return 0 if self.change is None else minutes_until(self.change.due_at)


LIVE = Progress(Stage.LIVE)


def progress_of(server_id: int, keys: Collection[str]) -> dict[str, Progress]:
    """Return the state of each record, in one query whatever their number."""
    changes = _newsworthy(server=server_id, keys=list(keys), since=now() - RECENT)
    newest = {change.key: change for change in changes}
    return {key: _progress(newest.get(key)) for key in keys}


@Prepared
def _newsworthy(server: int, keys: list[str], since: datetime) -> ChangeQuerySet:
    """Find what of these records is open, or has been applied since; the newest last."""
    wanted = Q(ended_at=None) | Q(state=ChangeState.APPLIED, ended_at__gte=since)
    return Change.objects.of(server, keys).filter(wanted).only(*SHOWN).order_by("pk")


def minutes_until(moment: datetime) -> int:
    """Return the whole minutes until then, rounded up; 0 when it is past."""
    left = (moment - now()).total_seconds()
    return max(0, math.ceil(left / 60))


def clock(server: MailServer, moment: datetime | None = None) -> str:
    """Return by the reader's clock when `server` does what is due then, or asked for just now.

    While it does not answer, nobody can promise more than the earliest time.
    """
    time = date_format(localtime(moment or due_from_now()), "TIME_FORMAT")
    return time if server.answers() else _("%(time)s at the earliest") % {"time": time}


def before_farewell(server: MailServer, key: str) -> dict[str, object]:
    """Return what every page shows that asks whether a record is to be deleted."""
    return {
        "never_there": progress_of(server.pk, [key])[key].never_there,
        "time": clock(server),
        "due_at": due_from_now(),
    }


def farewell(server: MailServer, key: str, address: object, later: str) -> str:
    """Say when a deleted record goes: `later`, or that it is gone, if no server ever had it.

    `later` names %(address)s and %(time)s.
    """
    at_once = _("%(address)s is deleted; the mail server never had it.")
    return _when(server, key, address, later, at_once)


def from_when(server: MailServer, key: str, address: object, later: str) -> str:
    """Say from when an edited record counts: `later`, or that the edit changes nothing.

    `later` names %(address)s and %(time)s.
    """
    unchanged = _("Nothing is left to change: the server already does this.")
    return _when(server, key, address, later, unchanged)


def _when(server: MailServer, key: str, address: object, later: str, without_change: str) -> str:
    change = Change.objects.pending().of(server.pk, [key]).first()
    if change is None:
        return without_change % {"address": address}
    return later % {"address": address, "time": clock(server, change.due_at)}


def in_time(changes: Iterable[Change]) -> list[list[Change]]:
    """Gather changes that belong together, in the order in which they were given."""
    groups: dict[object, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.group, []).append(change)
    return list(groups.values())


def _progress(change: Change | None) -> Progress:
    if change is None:
        return LIVE
    if change.state == ChangeState.APPLIED:
        return Progress(Stage.LIVE, applied_at=change.ended_at)
    if change.state == ChangeState.PENDING:
        return Progress(Stage.WAITING, change)
    return Progress(Stage.FAILING if change.cause else Stage.APPLYING, change)
