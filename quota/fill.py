"""How full mailboxes are, as pages show it: in a fixed number of queries whatever their length."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet, Sum

from accounts.models import Account, Domain
from propagation.prepared import Prepared
from quota.models import (
    ALMOST,
    FULL,
    NEARLY,
    MailboxUsage,
    UsageReport,
    WaitingMail,
)
from quota.wednesday import next_run
from quota.words import bytes_of, number

PAGE_SIZE = 50
#: Mailboxes named on a domain's home: the fullest.
MOST_NAMED = 5
#: Copies named of those that wait for a mailbox.
MOST_COPIES = 3


@dataclass(frozen=True, slots=True)
class Fill:
    """What a mailbox uses of its limit, in bytes."""

    used: int
    limit: int
    messages: int

    @property
    def percent(self) -> int:
        """How much of the limit, rounded down; above 100 for what was let in last."""
        return self.used * 100 // self.limit

    @property
    def level(self) -> str:
        """How full: "room", "nearly" (80%), "almost" (95%) or "full"."""
        for level, least in (("full", FULL), ("almost", ALMOST), ("nearly", NEARLY)):
            if self.percent >= least:
                return level
        return "room"

    @property
    def words(self) -> str:
        """The figures as people write them."""
        return f"{bytes_of(self.used)} / {bytes_of(self.limit)} ({self.percent}%)"

    @property
    def shown(self) -> int:
        """What a meter of 100 can show."""
        return min(self.percent, 100)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a message that waits for room; `sender` "" is another mail server's notice."""

    sender: str
    size: str
    arrived_at: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One account in a domain's list; without a figure yet `fill` is none."""

    account: Account
    fill: Fill | None
    messages: str
    limit: str
    waiting: WaitingMail | None

    @property
    def waiting_size(self) -> str:
        """The size of what waits together."""
        return bytes_of(self.waiting.size) if self.waiting else ""

    @property
    def copies(self) -> list[Copy]:
        """The copies that have waited longest."""
        first = self.waiting.first[:MOST_COPIES] if self.waiting else []
        return [
            Copy(one["sender"], bytes_of(one["size"]), datetime.fromtimestamp(one["arrived"], UTC))
            for one in first
        ]

    @property
    def more_waiting(self) -> int:
        """How many copies wait beside those named."""
        return self.waiting.count - len(self.copies) if self.waiting else 0


@dataclass(frozen=True, slots=True)
class Wednesday:
    """What the next Wednesday's job would do by the present figures."""

    at: datetime
    accounts: int
    size: str
    #: False where the server has told of no mailbox yet, so that nobody knows.
    known: bool


def fill_of(usage: MailboxUsage) -> Fill:
    """Return what a row of figures says."""
    return Fill(usage.used, usage.limit, usage.messages)


def fills(accounts: Collection[Any]) -> dict[Any, Fill]:
    """Return how full the mailboxes of these accounts (ids) are; without a figure it lacks one."""
    return {pk: Fill(*figures) for pk, *figures in _figures(accounts=list(accounts))}


@Prepared
def _figures(accounts: list[Any]) -> QuerySet[MailboxUsage, tuple[Any, int, int, int]]:
    found = MailboxUsage.objects.filter(account__id__in=accounts).order_by()
    return found.values_list("pk", "used", "limit", "messages")


def report_of(domain: Domain) -> UsageReport:
    """Return when the domain's server told its figures; never, where it has not yet."""
    report = UsageReport.objects.filter(server=domain.server_id).first()
    return report or UsageReport(server=domain.server)


def page_of(domain: Domain, text: str, page: str | None) -> Page[Account]:
    """Return a part of the domain's accounts whose names contain a text, the fullest first."""
    accounts: QuerySet[Account] = domain.accounts.select_related("usage", "waiting_mail")
    if text:
        accounts = accounts.filter(name__contains=text)
    order = F("usage__percent").desc(nulls_last=True)
    return Paginator(accounts.order_by(order, "name"), PAGE_SIZE).get_page(page)


def rows_of(domain: Domain, accounts: Iterable[Account]) -> list[Row]:
    """Return what the list shows of these accounts, loaded by `page_of`."""
    rows = []
    for account in accounts:
        usage = getattr(account, "usage", None)
        limit = usage.limit if usage else account.quota_bytes or domain.plan.mailbox_bytes
        rows.append(
            Row(
                account,
                fill_of(usage) if usage else None,
                number(usage.messages) if usage else "",
                bytes_of(limit),
                getattr(account, "waiting_mail", None),
            )
        )
    return rows


def attention(domain: Domain) -> dict[str, Any]:
    """Return which of the domain's mailboxes need attention, the fullest first, and the totals."""
    found = MailboxUsage.objects.of_domain(domain).at_least(NEARLY).select_related("account")
    # The address has the domain's name, which is known.
    fullest = found.order_by("-percent", "account__name")[:MOST_NAMED]
    named, sums = [(_in(domain, one.account), fill_of(one)) for one in fullest], totals(domain)
    more = sums["full"] + sums["nearly"] - len(named)
    return {"filling": named, "filling_more": max(0, more), "totals": sums}


def _in(domain: Domain, account: Account) -> Account:
    account.domain = domain
    return account


def totals(domain: Domain) -> dict[str, Any]:
    """Return the figures of a domain's mailboxes together."""
    sums = MailboxUsage.objects.of_domain(domain).aggregate(
        used=Sum("used"),
        full=Count("pk", filter=Q(percent__gte=FULL)),
        nearly=Count("pk", filter=Q(percent__gte=NEARLY, percent__lt=FULL)),
    )
    return {"used": bytes_of(sums["used"] or 0), "full": sums["full"], "nearly": sums["nearly"]}


def next_wednesday(domain: Domain) -> Wednesday:
    """Return what the next Wednesday's job would take of a domain, by the present figures."""
    told = MailboxUsage.objects.of_domain(domain)
    sums = told.full().aggregate(accounts=Count("pk"), used=Sum("used"))
    known = bool(sums["accounts"]) or told.exists()
    return Wednesday(next_run(), sums["accounts"], bytes_of(sums["used"] or 0), known)
