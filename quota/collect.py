"""Take over what a mail server's policy daemon knows: a minute's news at a time.

Only what changed since the last time is read, and written in bulk. It may run twice or late. Of
two runs at once the second leaves it to the first, or an older row that was read first could be
written last. A run that was killed is made good by the next: the cursor moves after the rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.utils.timezone import localdate, localtime, now

from accounts.models import Account
from mailhost.config import HostConfig
from mailhost.policy import figures
from mailhost.policy.grants import network_of
from propagation.models import MailServer, parts
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that has a name now."""

    pk: Any
    created_at: datetime
    domain: str

    def had_the_name(self, seconds: float) -> bool:
        """Whether what happened then was this account's, not an earlier one's of the name."""
        return _moment(seconds) >= self.created_at

    def sent(self, one: figures.Sent) -> bool:
        """Whether this account sent it: names are free again for any domain of the server."""
        day = date.fromisoformat(one.day)
        return one.domain == self.domain and day >= localdate(self.created_at)


def collect(server: MailServer) -> int:
    """Take over one server's news, and pass on which wrong passwords to forget.

    Return how many rows were news; 0 where another process is at it. Raises NotHere on a
    machine without this server, and FiguresError if its policy daemon's database cannot be
    read.
    """
    with server.host() as host:
        root, config = host.root, host.config
    _compare_zones(server, config)
    with figures.taken_over_alone(root) as alone:
        if not alone:
            return 0
        report, _ = Report.objects.get_or_create(server=server)
        _pass_on_lifts(server, root)
        begun = now()
        written = _take_over(server, report, root)
        Report.objects.filter(pk=report.pk).update(
            collected_at=begun,
            pop_before_smtp=config.pop_before_smtp,
            window_minutes=config.window_minutes,
            no_window_networks=config.no_window_networks,
        )
        _forget_old()
    return written


def _take_over(server: MailServer, report: Report, root: Path) -> int:
    """Write what is news since the report's cursor, and move it; return how many rows."""
    written, cursor, more = 0, report.cursor, True
    while more:
        begun, news = now(), figures.read(root, cursor)
        owners = _owners(server, news)
        written += (
            _write_hours(news.sent, owners)
            + _write_windows(news.ways, owners)
            + _write_refusals(news.refusals, owners)
            + _write_guessing(news.guessed, owners, begun)
        )
        # Only from where it was read: deleted meanwhile, it shall bring everything again.
        same = Report.objects.filter(pk=report.pk, cursor=cursor)
        cursor = news.cursor or cursor
        more = bool(same.update(cursor=cursor)) and news.more
    return written


def _compare_zones(server: MailServer, config: HostConfig) -> None:
    """Say in the log that the panel's day is another than the mail server's."""
    panels, servers = localtime(), now().astimezone(ZoneInfo(config.time_zone))
    if panels.utcoffset() != servers.utcoffset():
        _log.warning("%s counts by %s, the panel's TIME_ZONE differs", server, config.time_zone)


def _pass_on_lifts(server: MailServer, root: Path) -> None:
    """Have the daemon forget what owners want forgotten; the last one is waited for."""
    asked = now()
    names = Guessing.objects.to_lift(server)
    for number, name in enumerate(names, 1):
        figures.lift(root, name, wait=_PATIENCE if number == len(names) else 0.0)
    if names:
        done = Guessing.objects.filter(account__server=server, account__name__in=names)
        # Asked for once more meanwhile, it is passed on the next time.
        done.filter(lift_asked_at__lte=asked).update(lift_asked_at=None)


def _owners(server: MailServer, news: figures.Figures) -> dict[str, Owner]:
    """Return the accounts that the news is about, by name; one that is gone is not among them."""
    kinds = (news.sent, news.ways, news.refusals, news.guessed)
    names = sorted({row.account for rows in kinds for row in rows})
    columns = ("pk", "created_at", "domain__name", "name")
    found = {}
    for some in parts(names, 10_000):
        accounts = Account.objects.filter(server=server, name__in=some)
        for *owner, name in accounts.values_list(*columns):
            found[name] = Owner(*owner)
    return found


def _write_hours(sent: Iterable[figures.Sent], owners: Mapping[str, Owner]) -> int:
    rows = []
    for one in sent:
        owner = owners.get(one.account)
        if owner and owner.sent(one) and network_of(one.address):
            rows.append(
                SendingHour(
                    account_id=owner.pk,
                    day=date.fromisoformat(one.day),
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
        (owner.pk, one.day, one.reason, one.sender): Refusal(
            account_id=owner.pk,
            day=date.fromisoformat(one.day),
            reason=one.reason[:40],
            sender=_text(one.sender),
            at=_moment(one.at),
            times=one.times,
            limit=one.limit,
            reached=one.reached,
            recipient=_text(one.recipient),
        )
        for one in refused
        if (owner := owners.get(one.account)) and owner.had_the_name(one.at)
    }
    key = ["account", "day", "reason", "sender"]
    changing = ["at", "times", "limit", "reached", "recipient"]
    written = _put(Refusal, list(rows.values()), key, changing)
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
    """Delete what is shown no more, by indexed columns and some rows at a time."""
    for rows in _old():
        # Unordered: any will do, and the index that finds them is read once.
        while some := list(rows.order_by().values_list("pk", flat=True)[:_TOGETHER]):
            rows.model._default_manager.filter(pk__in=some).delete()


def _old() -> Iterator[models.QuerySet[Any]]:
    yield SendingHour.objects.filter(day__lt=localdate() - timedelta(days=DAYS_KEPT))
    yield SendingWindow.objects.filter(until__lt=now() - _WINDOWS_KEPT)
    yield Guessing.objects.filter(told_at__lt=now() - _GUESSING_KEPT)


def _text(address: str) -> str:
    """Return an address as a column can hold it."""
    return address[:254].replace("\0", "?")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
