"""Why mail for an address does not arrive: one verdict, judged by plain functions.

First what the address is now, then what the mail server's log told of its last messages.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils.timezone import now

from accounts.models import Domain
from forwarding.routes import End
from propagation.progress import Stage
from tracing.models import EventReport, Kind, MailEvent, Side
from tracing.reasons import Reason, reason_of
from tracing.tree import Node, Tree, tree_of

#: Events that are looked at for the address and from it, and those of both that are shown.
LOOKED_AT, SHOWN = 100, 20
#: How long a refusal is told of although mail has arrived since.
RECENT = timedelta(days=2)


class Code(enum.StrEnum):
    """What the matter is."""

    UNKNOWN = "unknown"
    LEAVING = "leaving"
    PENDING = "pending"
    FAILING = "failing"
    LOOP = "loop"
    TOO_WIDE = "too-wide"
    DEAD_END = "dead-end"
    FULL = "full"
    LIMIT = "limit"
    TOO_LARGE = "too-large"
    LATER = "later"
    REFUSED = "refused"
    PARTLY_DEAD = "partly-dead"
    PARTLY_FULL = "partly-full"
    SOME_REFUSED = "some-refused"
    SOME_LATER = "some-later"
    FINE = "fine"
    QUIET = "quiet"
    UNHEARD = "unheard"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the matter is, with the address (`node`) or the message (`event`) that tells.

    `leader` is the address that would have to lead elsewhere, if one is wrong.
    `known_since` and `known_until`: between which times no mail came, where that is the matter.
    """

    code: Code
    node: Node | None = None
    event: MailEvent | None = None
    leader: Node | None = None
    delivered_at: datetime | None = None
    known_since: datetime | None = None
    known_until: datetime | None = None

    @property
    def kind(self) -> str:
        """How bad it is: "done", "wait" or "stop", as notes are drawn."""
        if self.code in (Code.FINE, Code.QUIET):
            return "done"
        return "wait" if self.code in _PASSING else "stop"


_PASSING = {
    *(Code.LEAVING, Code.PENDING, Code.LATER),
    *(Code.PARTLY_DEAD, Code.PARTLY_FULL, Code.SOME_REFUSED, Code.SOME_LATER, Code.UNHEARD),
}


@dataclass(frozen=True, slots=True)
class Past:
    """What the mail server's log told of an address, the latest first."""

    to: list[MailEvent]
    sent: list[MailEvent]
    delivered_at: datetime | None = None
    report: EventReport | None = None

    def sent_by_its_own(self) -> list[MailEvent]:
        """Return what its own account sent, for all that is known: anybody can write an address."""
        return [event for event in self.sent if not event.unproven]

    def shown(self) -> list[MailEvent]:
        """Return the latest, of either side enough that the other never hides it."""
        half = SHOWN // 2
        to = _chosen(self.to, max(half, SHOWN - len(self.sent)))
        return _latest(to + _chosen(self.sent, max(half, SHOWN - len(self.to))))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that a page says of an address: its last events, and by `report` how fresh they are."""

    verdict: Verdict
    tree: Tree
    events: list[MailEvent] = field(default_factory=list)
    report: EventReport | None = None


def diagnose(domain: Domain, address: str) -> Diagnosis:
    """Find out what the matter is with an address, in lower case, of this domain."""
    tree = tree_of(domain, address)
    past = _past(domain, address, tree)
    return Diagnosis(judge(tree, past), tree, past.shown(), past.report)


def _past(domain: Domain, address: str, tree: Tree) -> Past:
    known = MailEvent.objects.about(domain, address)
    to, sent = (_of_side(known.filter(side=side)) for side in (Side.TO, Side.FROM))
    delivered = known.filter(side=Side.TO, kind=Kind.DELIVERED).order_by("-at")
    return Past(
        discreet(to, tree),
        discreet(sent, tree),
        delivered.values_list("at", flat=True).first(),
        EventReport.objects.filter(server=domain.server_id).first(),
    )


def _of_side(known: QuerySet[MailEvent]) -> list[MailEvent]:
    """Return the latest events, and of late what did not arrive: one message to many hides it."""
    trouble = known.exclude(kind=Kind.DELIVERED).filter(at__gte=now() - RECENT)
    found = {event.pk: event for some in (known, trouble) for event in some[:LOOKED_AT]}
    return _latest(found.values())


def discreet(events: Iterable[MailEvent], tree: Tree) -> list[MailEvent]:
    """Return events without what happened past where the customer's own forwarding ends."""
    seen = {place.address for place in tree.places}
    found = []
    for event in events:
        if event.onward and event.onward not in seen:
            event.onward = event.relay = event.reason = ""
        found.append(event)
    return found


def _latest(events: Iterable[MailEvent]) -> list[MailEvent]:
    """Return events, the latest first."""
    return sorted(events, key=lambda event: (event.at, event.pk), reverse=True)


def _chosen(events: list[MailEvent], most: int) -> list[MailEvent]:
    """Return so many of the latest, half of them what did not arrive, if there is so much."""
    trouble = [event for event in events if event.kind != Kind.DELIVERED][: most // 2]
    usual = [event for event in events if event.kind == Kind.DELIVERED][: most - len(trouble)]
    chosen = {event.pk for event in [*trouble, *usual]}
    rest = [event for event in events if event.pk not in chosen]
    return [*trouble, *usual, *rest[: most - len(chosen)]]


def judge(tree: Tree, past: Past) -> Verdict:
    """Return what the matter is."""
    return (
        _address(tree)
        or _lost(tree)
        or _changes(tree)
        or _no_room(tree)
        or _message(past.to, past.delivered_at)
        or _partly(tree)
        or _message(past.sent_by_its_own(), past.delivered_at)
        or _some(past)
        or _rest(past)
    )


def _address(tree: Tree) -> Verdict | None:
    """Judge whether the address is there at all."""
    root = tree.root
    if tree.too_wide:
        return Verdict(Code.TOO_WIDE, root, leader=root)
    if root.end == End.NOWHERE:
        return Verdict(Code.LEAVING if root.progress.removing else Code.UNKNOWN, root)
    return None


def _changes(tree: Tree) -> Verdict | None:
    """Judge whether the mail server has all of it yet."""
    for place in tree.places:
        if place.progress.change is not None and place.progress.creating and not place.works:
            failing = place.progress.stage == Stage.FAILING
            return Verdict(Code.FAILING if failing else Code.PENDING, place)
    return None


def _lost(tree: Tree) -> Verdict | None:
    """Judge whether its mail could arrive anywhere, now or once all that waits has come."""
    if tree.circle:
        return Verdict(Code.LOOP, tree.circle, leader=tree.circle)
    if tree.root.dead:
        end = _first_dead(tree.places)
        return Verdict(Code.DEAD_END, end, leader=tree.leading_to(end))
    return None


def _no_room(tree: Tree) -> Verdict | None:
    """Judge whether all mailboxes that it comes to are full."""
    ends = [place for place in tree.places if not place.leads_to]
    if ends and all(place.full for place in ends):
        return Verdict(Code.FULL, ends[0])
    return None


def _first_dead(places: Iterable[Node]) -> Node:
    """Return the end at which mail for a dead address is lost."""
    dead = [place for place in places if place.dead]
    return next((place for place in dead if not place.leads_to), dead[0])


def _message(events: list[MailEvent], delivered_at: datetime | None) -> Verdict | None:
    """Judge by the last message for the address, or from it."""
    last = events[0] if events else None
    if last is None or last.kind == Kind.DELIVERED or _is_past(last):
        return None
    return Verdict(_code_of(last), event=last, delivered_at=delivered_at)


def _is_past(event: MailEvent) -> bool:
    """Whether what was the matter is not any more, as the address itself has been judged."""
    of_the_address = reason_of(event) in (Reason.UNKNOWN, Reason.FULL)
    return of_the_address and event.side == Side.TO and not event.onward


def _code_of(event: MailEvent) -> Code:
    reason = reason_of(event)
    if reason == Reason.LIMIT:
        return Code.LIMIT
    if reason == Reason.TOO_LARGE:
        return Code.TOO_LARGE
    return Code.LATER if event.temporary else Code.REFUSED


def _partly(tree: Tree) -> Verdict | None:
    """Judge whether some of its mail is lost on the way."""
    for code, some in (
        (Code.PARTLY_DEAD, [place for place in tree.places if place.dead]),
        (Code.PARTLY_FULL, [place for place in tree.places if place.full]),
    ):
        if some:
            return Verdict(code, some[0], leader=tree.leading_to(some[0]))
    return None


def _some(past: Past) -> Verdict | None:
    """Judge whether some messages did not arrive of late, or wait, though others did."""
    since = now() - RECENT
    sent = past.sent_by_its_own()
    waiting = [*_waiting(past.to), *_waiting(sent)]
    lost = (event for event in past.to + sent if event.kind in (Kind.BOUNCED, Kind.REFUSED))
    for event in _latest([*waiting, *lost])[:1]:
        if event.at >= since:
            code = Code.SOME_LATER if event.kind == Kind.DEFERRED else Code.SOME_REFUSED
            return Verdict(code, event=event, delivered_at=past.delivered_at)
    return None


def _waiting(events: Iterable[MailEvent]) -> list[MailEvent]:
    """Return what was put off last where it was to go, one message for each such place."""
    last: dict[str, MailEvent] = {}
    for event in events:
        if event.kind != Kind.REFUSED:
            last.setdefault(event.other if event.side == Side.FROM else event.onward, event)
    return [event for event in last.values() if event.kind == Kind.DEFERRED and not _is_past(event)]


def _rest(past: Past) -> Verdict:
    """Say that nothing is the matter, as far as the mail server has told."""
    report, delivered_at = past.report, past.delivered_at
    if report is None or report.late:
        until = report.known_until if report else None
        return Verdict(Code.UNHEARD, delivered_at=delivered_at, known_until=until)
    if delivered_at is None:
        return Verdict(Code.QUIET, known_since=report.complete_since)
    return Verdict(Code.FINE, delivered_at=delivered_at)
