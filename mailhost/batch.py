"""Entries on their way into the store, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailhost import rules
from mailhost.confirm import Confirmer
from mailhost.records import Entry, RecordError
from mailhost.store import Store


class Status(StrEnum):
    """What became of an entry."""

    APPLIED = "applied"  # the server itself confirmed it
    STALE = "stale"  # the server holds a newer change of this key: nothing to do
    REFUSED = "refused"  # it broke a rule and never touched the store
    UNCONFIRMED = "unconfirmed"  # written, but a backend gave another answer or none


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry; `code` is for programs, `reason` for people.

    Codes of REFUSED: the grammar's or field's name, "loop", "id-taken" (the mailbox
    id is another mailbox's) or "own-name" (the server's own name as a domain).
    """

    status: Status
    reason: str = ""
    code: str = ""


_APPLIED = Outcome(Status.APPLIED)


class _Looping(Exception):
    """Addresses just written lead back to themselves: undo and leave these out."""

    def __init__(self, loops: dict[str, list[str]]) -> None:
        self.loops = loops


class Batch:
    """Entries that one call of Host.apply() was given; of several of one key the newest."""

    def __init__(self, store: Store, entries: Iterable[Entry]) -> None:
        """Refuse at once what does not keep its grammar."""
        self._store = store
        self.outcomes: dict[str, Outcome] = {}
        #: What the store holds after write(), now or before: to be confirmed.
        self.taken: list[Entry] = []
        self._fit = _newest(self._keep_grammar(entries))

    def _keep_grammar(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that keep their grammar; the others' outcomes are REFUSED."""
        fit = []
        for entry in entries:
            try:
                entry.check()
            except RecordError as error:
                self.outcomes[entry.key] = Outcome(Status.REFUSED, str(error), error.kind)
            else:
                fit.append(entry)
        return fit

    def write(self, hostname: str, moment: datetime) -> bool:
        """Put what is new into the store, in one transaction; return whether anything was.

        What breaks a rule is refused, then the rest is tried again without it. `hostname` is
        the server's own, `moment` the time of what is deleted.
        """
        news = self._news()
        while news and (refused := self._refused(news, hostname, moment)):
            self.outcomes |= refused
            news = [entry for entry in news if entry.key not in refused]
        self.taken = [entry for entry in self._fit if entry.key not in self.outcomes]
        return bool(news)

    def _news(self) -> list[Entry]:
        """Return what is newer than the store; what is older has the outcome STALE."""
        news = []
        changes = self._store.records.changes_of([entry.key for entry in self._fit])
        for entry in self._fit:
            held = changes.get(entry.key, 0)
            if entry.change < held:
                self.outcomes[entry.key] = Outcome(Status.STALE, f"change {held} came before")
            elif entry.change > held:
                news.append(entry)
        return news

    def _refused(
        self, news: Sequence[Entry], hostname: str, moment: datetime
    ) -> dict[str, Outcome]:
        """Write the entries, or return why some of them may not be and write none."""
        refused = {
            key: Outcome(Status.REFUSED, f"the mailbox id belongs to {holder}", "id-taken")
            for key, holder in rules.taken_ids(self._store, news).items()
        } | {
            key: Outcome(Status.REFUSED, "the server's own name takes no mail", "own-name")
            for key in rules.own_name(news, hostname)
        }
        if refused:
            return refused
        changes = {
            entry.key.partition(":")[2]: entry.change
            for entry in news
            if entry.key.startswith("address:") and entry.record is not None
        }
        try:
            with self._store.transaction():
                self._store.take(news, moment)
                if found := rules.loops(self._store, changes):
                    raise _Looping(found)
        except _Looping as looping:
            return {
                f"address:{address}": Outcome(Status.REFUSED, " -> ".join(way), "loop")
                for address, way in looping.loops.items()
            }
        return {}

    def confirm(self, confirmer: Confirmer, problem: str) -> None:
        """Ask the server about what was taken. `problem` is one of all mailboxes, or ""."""
        if not self.taken:
            return
        problems = confirmer.problems(self.taken)
        for entry in self.taken:
            if problem and entry.key.startswith("mailbox:"):
                problems.setdefault(entry.key, problem)
            reason = problems.get(entry.key, "")
            self.outcomes[entry.key] = Outcome(Status.UNCONFIRMED, reason) if reason else _APPLIED


def _newest(entries: Iterable[Entry]) -> list[Entry]:
    """Return the newest entry of each key."""
    newest: dict[str, Entry] = {}
    for entry in entries:
        held = newest.get(entry.key)
        if held is None or entry.change >= held.change:
            newest[entry.key] = entry
    return list(newest.values())
