"""Why mail for an address does not arrive: one verdict, judged by plain functions.

First what the address is now, then what the mail server's log told of its last messages.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils.timezone import now

from accounts.models import Domain
from forwarding.routes import End
from propagation.progress import Stage
from tracing.models import EventReport, Kind, MailEvent, Side
from tracing.reasons import Reason, reason_of
from tracing.tree import Node, Tree, tree_of

#: Events that are looked at, and shown.
LOOKED_AT, SHOWN = 100, 20
#: Events among which the last delivery is looked for.
MOST_LOOKED_AT = 2000
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
    FINE = "fine"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the matter is, with the address (`node`) or the message (`event`) that tells."""

    code: Code
    node: Node | None = None
    event: MailEvent | None = None
    delivered_at: datetime | None = None

    @property
    def kind(self) -> str:
        """How bad it is: "done", "wait" or "stop", as notes are drawn."""
        if self.code in (Code.FINE, Code.QUIET):
            return "done"
        return "wait" if self.code in _PASSING else "stop"


_PASSING = {
    *(Code.LEAVING, Code.PENDING, Code.LATER),
    *(Code.PARTLY_DEAD, Code.PARTLY_FULL, Code.SOME_REFUSED),
}


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
    known = MailEvent.objects.about(domain, address)
    events = list(known[:LOOKED_AT])
    delivered_at = last_delivery(events)
    if delivered_at is None and len(events) == LOOKED_AT:
        delivered_at = last_delivery(known[LOOKED_AT:MOST_LOOKED_AT])
    events = discreet(events, tree)
    verdict = judge(tree, events, delivered_at)
    report = EventReport.objects.filter(server=domain.server_id).first()
    return Diagnosis(verdict, tree, events[:SHOWN], report)


def discreet(events: Iterable[MailEvent], tree: Tree) -> list[MailEvent]:
    """Return events without what happened past where the customer's own forwarding ends."""
    seen = {node.address for node in tree.nodes()}
    found = []
    for event in events:
        if event.onward and event.onward not in seen:
            event.onward = event.relay = event.reason = ""
        found.append(event)
    return found


def last_delivery(events: Iterable[MailEvent]) -> datetime | None:
    """Return when mail for the address arrived last; `events` are the latest first."""
    for event in events:
        if event.side == Side.TO and event.kind == Kind.DELIVERED:
            return event.at
    return None


def judge(tree: Tree, events: Sequence[MailEvent], delivered_at: datetime | None) -> Verdict:
    """Return what the matter is; `events` are the latest first."""
    return (
        _address(tree)
        or _changes(tree)
        or _ways(tree)
        or _message(events, Side.TO, delivered_at)
        or _partly(tree)
        or _message(events, Side.FROM, delivered_at)
        or _rest(events, delivered_at)
    )


def _address(tree: Tree) -> Verdict | None:
    """Judge whether the address is there at all."""
    root = tree.root
    if tree.too_wide:
        return Verdict(Code.TOO_WIDE, root)
    if root.end == End.NOWHERE:
        return Verdict(Code.LEAVING if root.progress.removing else Code.UNKNOWN, root)
    return None


def _changes(tree: Tree) -> Verdict | None:
    """Judge whether the mail server has all of it yet."""
    for node in tree.nodes():
        if node.progress.change is not None and node.progress.creating:
            failing = node.progress.stage == Stage.FAILING
            return Verdict(Code.FAILING if failing else Code.PENDING, node)
    return None


def _ways(tree: Tree) -> Verdict | None:
    """Judge whether its mail could arrive anywhere."""
    nodes = tree.nodes()
    if tree.loops:
        return Verdict(Code.LOOP, next(node for node in nodes if node.again))
    if tree.root.dead:
        return Verdict(Code.DEAD_END, _first_dead(nodes))
    ends = [node for node in nodes if not node.below]
    if ends and all(node.full for node in ends):
        return Verdict(Code.FULL, ends[0])
    return None


def _first_dead(nodes: Iterable[Node]) -> Node:
    """Return the end at which mail for a dead address is lost."""
    dead = [node for node in nodes if node.dead]
    return next((node for node in dead if not node.below), dead[0])


def _message(
    events: Sequence[MailEvent], side: Side, delivered_at: datetime | None
) -> Verdict | None:
    """Judge by the last message for the address, or from it."""
    last = next((event for event in events if event.side == side), None)
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
    nodes = tree.nodes()
    for code, some in (
        (Code.PARTLY_DEAD, [node for node in nodes if node.dead]),
        (Code.PARTLY_FULL, [node for node in nodes if node.full]),
    ):
        if some:
            return Verdict(code, some[0])
    return None


def _rest(events: Sequence[MailEvent], delivered_at: datetime | None) -> Verdict:
    """Judge what has arrived, and say what has not of late."""
    since = now() - RECENT
    for event in events:
        if event.kind not in (Kind.DELIVERED, Kind.DEFERRED) and event.at >= since:
            return Verdict(Code.SOME_REFUSED, event=event, delivered_at=delivered_at)
    code = Code.QUIET if delivered_at is None else Code.FINE
    return Verdict(code, delivered_at=delivered_at)
