"""Take over what the mail servers know of messages: a minute's news at a time.

It may run twice or late: each portion moves the cursor, which counts the server's own numbers, in
the transaction that writes it, and only from where it was read. Of two runs at once the second
finds the cursor moved and leaves the rest to the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.utils.timezone import now

from accounts.models import Domain
from mailhost.events import reading
from mailhost.events.reading import Event, News
from propagation.models import MailServer, parts
from tracing.models import KEPT, EventReport, MailEvent, Side

#: Rows forgotten in one transaction: nobody waits long for it.
PORTION = 5000
# The log knows whole seconds.
_SECOND = timedelta(seconds=1)


def collect(server: MailServer) -> int:
    """Take over one server's news; return how many events were news.

    Raises NotHere on a machine without this server, and EventsError if its events cannot be read.
    """
    with server.host() as host:
        root = host.root
    report, _ = EventReport.objects.get_or_create(server=server)
    written = _take_over(server, report, root)
    forget_old()
    return written


def _take_over(server: MailServer, report: EventReport, root: Path) -> int:
    written, cursor, more = 0, report.cursor, True
    while more:
        news = reading.read(root, cursor)
        rows = list(_rows(news.events, _domains(server, news.events)))
        with transaction.atomic():
            same = EventReport.objects.filter(pk=report.pk, cursor=cursor)
            if not same.update(cursor=news.cursor, **_known(news)) or news.cursor == cursor:
                return written
            if not cursor:
                # All that the server keeps comes anew.
                MailEvent.objects.filter(domain__server=server).delete()
            MailEvent.objects.bulk_create(rows, batch_size=PORTION)
        written, cursor, more = written + len(news.events), news.cursor, news.more
    return written


def _known(news: News) -> dict[str, datetime]:
    """Return of when all is known once this is taken over: as before, where more is to come."""
    if news.more or not news.alive_at:
        return {}
    known = {"known_since": news.since, "known_until": news.alive_at}
    return {name: datetime.fromtimestamp(at, UTC) for name, at in known.items()}


def _domains(server: MailServer, events: Iterable[Event]) -> dict[str, Domain]:
    """Return the server's domains that these events are about, by name."""
    names = {
        address.rpartition("@")[2]
        for event in events
        for address in (event.sender, event.recipient, event.original)
    }
    found: dict[str, Domain] = {}
    for some in parts(sorted(names - {""}), 500):
        own = Domain.objects.filter(server=server, name__in=some).only("name", "created_at")
        found.update((domain.name, domain) for domain in own)
    return found


def _rows(events: Iterable[Event], domains: Mapping[str, Domain]) -> Iterator[MailEvent]:
    """Yield a row for each address of a customer's in each event.

    The sender has one for each address he wrote to: to how many it is forwarded is its owner's.
    """
    told = set()
    for event in events:
        at = datetime.fromtimestamp(event.at, UTC)
        for address, side, event_seen in _sides(event):
            if side == Side.FROM and event.original:
                written = (event.queue_id, event.sender, event.original)
                if written in told:
                    continue
                told.add(written)
            domain = domains.get(address.rpartition("@")[2])
            # The domain may have been another customer's before.
            if domain is None or at < domain.created_at - _SECOND:
                continue
            yield MailEvent(
                domain=domain, address=address, side=side, kind=event.kind, at=at, **event_seen
            )


def _sides(event: Event) -> Iterator[tuple[str, Side, dict[str, str]]]:
    """Yield each address of an event, what it is in it, and what it may know of it."""
    told = {"relay": event.relay, "code": event.code, "reason": event.reason}
    if event.original != event.recipient:
        yield event.original, Side.TO, {**told, "other": event.sender, "onward": event.recipient}
    yield event.recipient, Side.TO, {**told, "other": event.sender}
    if event.original:
        # Where a forward leads, and what is said there, is its owner's.
        told = {"code": event.code}
    yield event.sender, Side.FROM, {**told, "other": event.original or event.recipient}


def forget_old() -> int:
    """Delete what is older than is kept, a portion at a time; return how many rows."""
    # Not by their numbers: what was taken over anew is older than what came before it.
    old = MailEvent.objects.filter(at__lt=now() - KEPT).order_by("at").values("pk")
    gone, more = 0, True
    while more:
        some, _models = MailEvent.objects.filter(pk__in=old[:PORTION]).delete()
        gone, more = gone + some, some == PORTION
    return gone
