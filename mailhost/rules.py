"""What a server refuses although each record by itself is in order.

The panel has the same rules and better words for them; here they keep the
server sound when a form was bypassed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mailhost.records import Entry, HostedDomain, Mailbox
from mailhost.store import Store

# A chain has at most 10 steps; what lies beyond this many addresses is no chain but a list.
_MAX_VISITED = 2000


def taken_ids(store: Store, entries: Sequence[Entry]) -> dict[str, str]:
    """Return the keys whose mailbox id belongs to another mailbox, with that one's name.

    `entries` are newer than what the store holds. An id may go on under another
    name when the same batch takes it from the old one.
    """
    after = {
        entry.key: entry.record.mailbox_id if isinstance(entry.record, Mailbox) else ""
        for entry in entries
    }
    held = store.holders([id_ for id_ in after.values() if id_])
    holders: dict[str, str] = {}
    refused: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry.record, Mailbox):
            continue
        id_, name = entry.record.mailbox_id, entry.record.name
        holder, state = held.get(id_, ("", ""))
        holder = holders.get(id_) or holder
        kept = holder != name and after.get(f"mailbox:{holder}", id_) == id_
        if holder and (kept or id_ in holders or state == "closing"):
            refused[entry.key] = holder
        else:
            holders[id_] = name
    return refused


def own_name(entries: Iterable[Entry], hostname: str) -> list[str]:
    """Return the keys that would host the server's own name, which has no mailboxes."""
    return [
        entry.key
        for entry in entries
        if isinstance(entry.record, HostedDomain) and entry.record.name == hostname
    ]


def loops(store: Store, changes: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the addresses to be refused because they lead back to themselves, and how.

    `changes` are the addresses just written with their change numbers. Of those
    that make one loop together the newest is refused.
    """
    refused: dict[str, list[str]] = {}
    for address in changes:
        loop = loop_of(store, address)
        if loop:
            newest = max((node for node in loop if node in changes), key=lambda n: changes[n])
            turn = loop.index(newest)
            refused.setdefault(newest, [*loop[turn:], *loop[:turn], newest])
    return refused


def loop_of(store: Store, start: str) -> list[str]:
    """Return the addresses on the way from `start` back to itself, or an empty list.

    An address that names itself keeps a copy; that is no loop.
    """
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting and len(came_from) < _MAX_VISITED:
        node = waiting.pop()
        for following in store.leads_to(node):
            if following == node:
                continue
            if following == start:
                return _way_back(came_from, start, node)
            if following not in came_from:
                came_from[following] = node
                waiting.append(following)
    return []


def _way_back(came_from: Mapping[str, str], start: str, node: str) -> list[str]:
    way = [node]
    while node != start:
        node = came_from[node]
        way.append(node)
    return way[::-1]
