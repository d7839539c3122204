"""Take over what a mail server's policy daemon knows: a minute's news at a time.

Only what changed since the last time is read, and written in bulk. It may run twice, late or
beside itself: a run that was overtaken leaves the cursor where the other one's was, so that the
next reads again what either may have missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import models
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.utils.timezone import localdate, now

from accounts.models import Account
from mailhost.policy import figures
from mailhost.policy.grants import network_of
from propagation.models import MailServer, NotHere, parts
from quota.models import REFUSALS_KEPT, Guessing, Refusal, Report, SendingHour, SendingWindow

#: Days for which hours are kept, as on the mail server.
DAYS_KEPT = 31
#: Rows in one transaction: nobody waits long for another's writing.
_TOGETHER = 2000
#: Wrong passwords count for an hour; the mail server tells of new ones, not of old ones' end.
_GUESSING_KEPT = timedelta(hours=2)
#: A window that has closed is shown no more.
_WINDOWS_KEPT = timedelta(hours=24)
#: Seconds to wait for the daemon to forget wrong passwords, so that the answer is read at once.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that has a name now."""

    pk: Any
    created_at: datetime

    def had_the_name(self, seconds: float) -> bool:
        """Whether what happened then was this account's, not an earlier one's of the name."""
        return _moment(seconds) >= self.created_at


def collect(server: MailServer) -> int:
    """Take over one server's news, and pass on which wrong passwords to forget.

    Return how many rows were news. Raises NotHere on a machine without this server, and
    FiguresError if its policy daemon's database cannot be read.
    """
    with server.host() as host:
        root, config = host.root, host.config
    report, _ = Report.objects.get_or_create(server=server)
    _pass_on_lifts(server, root)
    begun = now()
    news = figures.read(root, report.cursor)
    owners = _owners(server, news)
    written = (
        _write_hours(news.sent, owners)
        + _write_windows(news.ways, owners)
        + _write_refusals(news.refusals, owners)
        + _write_guessing(news.guessed, owners, begun)
    )
    _forget_old()
    same = Report.objects.filter(pk=report.pk, cursor=report.cursor)
    same.update(
        cursor=news.cursor or report.cursor,
        collected_at=begun,
        pop_before_smtp=config.pop_before_smtp,
        window_minutes=config.window_minutes,
        no_window_networks=config.no_window_networks,
    )
    return written


def collect_all(servers: Iterable[MailServer] | None = None) -> dict[str, int]:
    """Collect from every server of this machine; return how many rows were news."""
    found = {}
    for server in MailServer.objects.all() if servers is None else servers:
        try:
            found[server.name] = collect(server)
        except NotHere:
            continue
    return found


def _pass_on_lifts(server: MailServer, root: Path) -> None:
    """Have the daemon forget what owners want forgotten; the last one is waited for."""
    names = Guessing.objects.to_lift(server)
    for number, name in enumerate(names, 1):
        figures.lift(root, name, wait=_PATIENCE if number == len(names) else 0.0)
    if names:
        done = Guessing.objects.filter(account__server=server, account__name__in=names)
        done.update(lift_asked_at=None)


def _owners(server: MailServer, news: figures.Figures) -> dict[str, Owner]:
    """Return the accounts that the news is about, by name; one that is gone is not among them."""
    names = sorted(
        {row.account for row in news.sent}
        | {row.account for row in news.ways}
        | {row.account for row in news.refusals}
        | {row.account for row in news.guessed}
    )
    found = {}
    for some in parts(names, 10_000):
        accounts = Account.objects.filter(server=server, name__in=some)
        for pk, name, created_at in accounts.values_list("pk", "name", "created_at"):
            found[name] = Owner(pk, created_at)
    return found


def _write_hours(sent: Iterable[figures.Sent], owners: Mapping[str, Owner]) -> int:
    rows = []
    for one in sent:
        owner = owners.get(one.account)
        day = date.fromisoformat(one.day)
        # What was sent before belongs to an earlier account of the name.
        if owner and day >= localdate(owner.created_at) and network_of(one.address):
            rows.append(
                SendingHour(
                    account_id=owner.pk,
                    day=day,
                    hour=one.hour,
                    address=one.address,
                    way=one.way,
                    recipients=one.recipients,
                )
            )
    return _put(SendingHour, rows, ["account", "day", "hour", "address", "way"], ["recipients"])


def _write_windows(ways: Iterable[figures.OpenWay], owners: Mapping[str, Owner]) -> int:
    # Two addresses of one network are one window: the latest login's.
    rows = {
        (owner.pk, network): SendingWindow(
            account_id=owner.pk,
            network=network,
            address=one.address,
            way=one.way,
            login_at=_moment(one.login_at),
            until=_moment(one.until),
        )
        for one in ways
        if (owner := owners.get(one.account))
        and owner.had_the_name(one.login_at)
        and (network := network_of(one.address))
    }
    changing = ["address", "way", "login_at", "until"]
    return _put(SendingWindow, list(rows.values()), ["account", "network"], changing)


def _write_refusals(refused: Iterable[figures.Refused], owners: Mapping[str, Owner]) -> int:
    rows = {
        (owner.pk, one.at, one.reason, one.recipient): Refusal(
            account_id=owner.pk,
            at=_moment(one.at),
            reason=one.reason[:40],
            limit=one.limit,
            reached=one.reached,
            recipient=one.recipient[:254].replace("\0", ""),
        )
        for one in refused
        if (owner := owners.get(one.account)) and owner.had_the_name(one.at)
    }
    key = ["account", "at", "reason", "recipient"]
    written = _put(Refusal, list(rows.values()), key, ["limit", "reached"])
    for some in parts(sorted({key[0] for key in rows}), 500):
        _keep_last(some)
    return written


def _keep_last(accounts: list[Any]) -> None:
    """Delete all refusals of these accounts but the last ones of each."""
    order = [F("at").desc(), F("pk").desc()]
    rank = Window(RowNumber(), partition_by=F("account"), order_by=order)
    ranked = Refusal.objects.filter(account__in=accounts).annotate(rank=rank)
    too_old = list(ranked.filter(rank__gt=REFUSALS_KEPT).values_list("pk", flat=True))
    for some in parts(too_old, 5000):
        Refusal.objects.filter(pk__in=some).delete()


def _write_guessing(
    guessed: Iterable[figures.Guessed], owners: Mapping[str, Owner], told_at: datetime
) -> int:
    rows, quiet = [], []
    for one in guessed:
        owner = owners.get(one.account)
        if owner is None:
            continue
        if not one.wrong and not one.places:
            quiet.append(owner.pk)
            continue
        rows.append(
            Guessing(
                account_id=owner.pk,
                wrong=one.wrong,
                slowed_until=_moment(one.slowed_until) if one.slowed_until else None,
                refused_until=_moment(one.refused_until) if one.refused_until else None,
                places=[asdict(place) for place in one.places],
                told_at=told_at,
            )
        )
    for some in parts(quiet, 5000):
        Guessing.objects.filter(pk__in=some).delete()
    changing = ["wrong", "slowed_until", "refused_until", "places", "told_at"]
    return _put(Guessing, rows, ["account"], changing) + len(quiet)


def _put(model: type[models.Model], rows: list[Any], key: list[str], changing: list[str]) -> int:
    """Insert rows, or bring those that are there up to date."""
    for some in parts(rows, _TOGETHER):
        model._default_manager.bulk_create(
            some, update_conflicts=True, unique_fields=key, update_fields=changing
        )
    return len(rows)


def _forget_old() -> None:
    """Delete what is shown no more, by indexed columns."""
    for rows in _old():
        rows.delete()


def _old() -> Iterator[models.QuerySet[Any]]:
    yield SendingHour.objects.filter(day__lt=localdate() - timedelta(days=DAYS_KEPT))
    yield SendingWindow.objects.filter(until__lt=now() - _WINDOWS_KEPT)
    yield Guessing.objects.filter(told_at__lt=now() - _GUESSING_KEPT)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
