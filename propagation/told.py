"""What the history tells of an edit: how a record differs, without its secrets."""

from __future__ import annotations

from typing import Any

from history.acting import Actor
from history.models import Entry, entry
from propagation.models.content import Content

#: Of a list that changed so many are named, the others counted.
NAMED = 20
#: What says whose a record is, and nothing of what it does.
_OF_ITSELF = {"name", "domain", "local_part", "mailbox_id", "code", "leave_url"}


def edit(key: str, domain: str, was: Content, becomes: Content, actor: Actor) -> Entry | None:
    """Return the entry of an edit; None where nothing changed, and of what is in no domain."""
    if was == becomes or not domain:
        return None
    kind, _colon, name = key.partition(":")
    what = "add" if was.value is None else "remove" if becomes.value is None else "change"
    values = {} if what == "remove" else differences(was, becomes)
    return entry(f"{kind}.{what}", _subject(kind, name, domain), domain, values, actor)


def taken_back(key: str, domain: str, actor: Actor) -> Entry | None:
    """Return the entry of an edit that was taken back."""
    kind, _colon, name = key.partition(":")
    if not domain:
        return None
    return entry(f"{kind}.undo", _subject(kind, name, domain), domain, {}, actor)


def differences(was: Content, becomes: Content) -> dict[str, Any]:
    """Return how what may be shown differs, by field, and whether there is a new secret."""
    before, after = was.value or {}, becomes.value or {}
    told: dict[str, Any] = {}
    for field in sorted(after.keys() - _OF_ITSELF):
        old, new = before.get(field), after[field]
        if isinstance(new, list):
            told |= _of_list(field, old or [], new)
        elif old != new and (new or was.value is not None):
            told[field] = [old, new]
    if was.value is not None and was.secret != becomes.secret:
        told["secret"] = True
    return told


def _of_list(field: str, old: list[Any], new: list[Any]) -> dict[str, Any]:
    more = [one for one in new if one not in set(old)]
    fewer = [one for one in old if one not in set(new)]
    if not more and not fewer:
        return {}
    return {
        field: {
            "more": more[:NAMED],
            "fewer": fewer[:NAMED],
            "counts": [len(more), len(fewer)],
        }
    }


def _subject(kind: str, name: str, domain: str) -> str:
    """Return what an entry is about: an address, or the domain."""
    return f"{name}@{domain}" if kind in ("mailbox", "reply") else name
