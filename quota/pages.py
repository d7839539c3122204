"""What the pages of sending show, in a fixed number of queries whatever their length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import OuterRef, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils.timezone import localdate, localtime, now

from accounts.models import Account, Domain
from mailhost.policy.grants import network_of
from quota.limits import Limits, limits_of
from quota.models import (
    Guessing,
    Refusal,
    Report,
    SendingHour,
    SendingHourQuerySet,
    SendingWindow,
)
from quota.words import number, reason_of

PAGE_SIZE = 50
#: Places named of those from which mail came: the ones with most recipients.
MOST_SOURCES = 10
#: Days shown beside today.
DAYS = 7
# The graph's measures, in its own units.
_HIGH, _COLUMN, _BAR = 100, 20, 14


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of a limit is used; `limit` 0: there is none."""

    used: int
    limit: int

    @property
    def words(self) -> tuple[str, str]:
        """What is used and the limit, as people write numbers."""
        return number(self.used), number(self.limit)

    @property
    def left(self) -> str:
        """What is left."""
        return number(max(0, self.limit - self.used))

    @property
    def full(self) -> bool:
        """Whether nothing is left."""
        return 0 < self.limit <= self.used

    @property
    def nearly(self) -> bool:
        """Whether less than a fifth is left."""
        return not self.full and self.limit > 0 and self.used >= self.low

    @property
    def low(self) -> int:
        """From where on a meter warns."""
        return self.limit * 4 // 5

    @property
    def high(self) -> int:
        """From where on a meter alarms: the last one that is allowed."""
        return max(self.low, self.limit - 1)

    @property
    def shown(self) -> int:
        """What a meter, which ends at the limit, can show."""
        return min(self.used, self.limit)


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of the graph: where it stands and how high, and what it says."""

    hour: int
    recipients: int
    x: int
    y: int
    height: int
    now: bool

    @property
    def words(self) -> str:
        """The recipients, as people write numbers."""
        return number(self.recipients)

    @property
    def middle(self) -> int:
        """Where its label stands."""
        return self.x + _BAR // 2


@dataclass(frozen=True, slots=True)
class Source:
    """Where mail of today came from, and by which way."""

    address: str
    way: str
    recipients: str
    here: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One account in a domain's list."""

    account: Account
    gauge: Gauge
    window: SendingWindow | None
    guessed_at: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where wrong passwords came from."""

    network: str
    wrong: int
    last_at: datetime
    known: bool
    slowed_until: datetime | None
    refused_until: datetime | None


def sent_today(account: Account) -> int:
    """Return the account's recipients of today."""
    return SendingHour.objects.filter(account=account).on(localdate()).total()


def domain_sent_today(domain: Domain) -> int:
    """Return the recipients of today of all its accounts."""
    return SendingHour.objects.of_domain(domain).on(localdate()).total()


def report_of(domain: Domain) -> Report:
    """Return when the domain's server told its figures; never, where it has not yet."""
    return Report.objects.filter(server=domain.server_id).first() or Report(server=domain.server)


def traffic(hours: SendingHourQuerySet, visitor: str) -> dict[str, Any]:
    """Return what the part about today shows: by hour, and by address and way."""
    rows = list(
        hours.on(localdate())
        .order_by()
        .values_list("hour", "address", "way")
        .annotate(sum=Sum("recipients"))
    )
    by_hour = dict.fromkeys(range(24), 0)
    by_source: dict[tuple[str, str], int] = {}
    for hour, address, way, recipients in rows:
        by_hour[hour] += recipients
        by_source[address, way] = by_source.get((address, way), 0) + recipients
    here = network_of(visitor)
    most = sorted(by_source.items(), key=lambda item: (-item[1], item[0]))
    return {
        "bars": _bars(by_hour),
        "most": number(max(by_hour.values())),
        "sources": [_source(*way, count, here) for way, count in most[:MOST_SOURCES]],
        "more_sources": max(0, len(most) - MOST_SOURCES),
    }


def _source(address: str, way: str, recipients: int, here: str) -> Source:
    label = str(SendingHour.Way(way).label)
    return Source(address, label, number(recipients), network_of(address) == here)


def _bars(by_hour: dict[int, int]) -> list[Bar]:
    highest, present = max(1, *by_hour.values()), localtime().hour
    bars = []
    for hour, recipients in by_hour.items():
        # One recipient is to be seen beside a thousand.
        height = max(2, recipients * _HIGH // highest) if recipients else 0
        x = hour * _COLUMN + (_COLUMN - _BAR) // 2
        bars.append(Bar(hour, recipients, x, _HIGH - height, height, hour == present))
    return bars


def days_before(hours: SendingHourQuerySet) -> list[tuple[date, str]]:
    """Return the recipients of the days before today, the latest first."""
    today = localdate()
    days = [today - timedelta(days=n) for n in range(1, DAYS + 1)]
    sums = hours.filter(day__in=days).order_by().values_list("day").annotate(Sum("recipients"))
    found = dict(sums)
    return [(day, number(found.get(day, 0))) for day in days]


def page_of(domain: Domain, page: str | None) -> Page[Account]:
    """Return a part of the domain's accounts, those that sent most today first."""
    today = SendingHour.objects.filter(account=OuterRef("pk")).on(localdate()).order_by()
    total = today.values("account").annotate(sum=Sum("recipients")).values("sum")
    accounts = domain.accounts.annotate(sent=Coalesce(Subquery(total), Value(0)))
    return Paginator(accounts.order_by("-sent", "name"), PAGE_SIZE).get_page(page)


def rows_of(domain: Domain, accounts: Iterable[Account], visitor: str) -> list[Row]:
    """Return what the list shows of these accounts: of several open ways the visitor's own."""
    accounts = list(accounts)
    windows: dict[Any, SendingWindow] = {}
    here = network_of(visitor)
    for window in SendingWindow.objects.filter(account__in=accounts, until__gt=now()):
        if window.account_id not in windows or window.network == here:
            windows[window.account_id] = window
    guessed = {
        guessing.pk
        for guessing in Guessing.objects.filter(account__in=accounts)
        if holds_up(guessing)
    }
    return [
        Row(
            account,
            Gauge(getattr(account, "sent", 0), limits_of(account, domain).recipients_per_day),
            windows.get(account.pk) if limits_of(account, domain).pop_before_smtp else None,
            account.pk in guessed,
        )
        for account in accounts
    ]


def ways(account: Account, limits: Limits, report: Report, visitor: str) -> dict[str, Any]:
    """Return from where the account may send without a password, and whether the visitor may."""
    here = network_of(visitor)
    on = limits.pop_before_smtp and report.pop_before_smtp
    found = SendingWindow.objects.filter(account=account, until__gt=now()) if on else []
    windows = list(found)
    return {
        "pop_before_smtp": on,
        "windows": [(window, window.network == here) for window in windows],
        "visitor": visitor if here else "",
        "here_open": any(window.network == here for window in windows),
        "may_open_here": bool(here) and on and report.may_open(visitor),
        "window_minutes": report.window_minutes,
    }


def refusals_of(account: Account) -> list[tuple[Refusal, str]]:
    """Return the last refusals of the account's mail, each with its reason in words."""
    return [(refusal, reason_of(refusal)) for refusal in Refusal.objects.filter(account=account)]


def domain_refusals(domain: Domain, most: int = 10) -> list[tuple[Refusal, str]]:
    """Return the last refusals of all of the domain's accounts."""
    found = Refusal.objects.filter(account__domain=domain).select_related("account")
    return [(refusal, reason_of(refusal)) for refusal in found.order_by("-at", "-pk")[:most]]


def guessing_at(account: Account) -> dict[str, Any]:
    """Return who has guessed at the account's password within the last hour, and what follows."""
    guessing = Guessing.objects.filter(account=account).first()
    if guessing is None:
        return {"guessing": None}
    places = [place for place in map(_place, guessing.places) if _recent(place.last_at)]
    if not places and not _holds(guessing.slowed_until, guessing.refused_until):
        return {"guessing": None}
    return {
        "guessing": guessing,
        "refused_until": _ahead(guessing.refused_until),
        "slowed_until": _ahead(guessing.slowed_until),
        "places": places,
        "held_up": holds_up(guessing),
    }


def holds_up(guessing: Guessing) -> bool:
    """Whether anybody's login is slowed or refused because of these wrong passwords."""
    if _holds(guessing.slowed_until, guessing.refused_until):
        return True
    return any(
        _holds(place.slowed_until, place.refused_until) for place in map(_place, guessing.places)
    )


def _place(told: dict[str, Any]) -> Place:
    """Return a place as mailhost.policy.figures.GuessedFrom told it."""
    return Place(
        told["network"],
        told["wrong"],
        datetime.fromtimestamp(told["last_at"], UTC),
        told["known"],
        _ahead(_time(told["slowed_until"])),
        _ahead(_time(told["refused_until"])),
    )


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _holds(*times: datetime | None) -> bool:
    return any(_ahead(time) for time in times)


def _ahead(time: datetime | None) -> datetime | None:
    return time if time and time > now() else None


def _recent(time: datetime) -> bool:
    return time > now() - timedelta(hours=1)
