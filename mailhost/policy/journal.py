"""What becomes of messages on their way, on record: one row for all that one commit has of it.

A row for each recipient, written and deleted again within seconds, would cost more than all
else that is done about it. So entries are appended, read again when the daemon starts, and
now and then replaced by what holds by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mailhost.policy.database import PolicyDatabase

#: Rows after which the journal is to be written anew: a few megabytes.
MOST_ROWS = 5000

Entry = tuple[Any, ...]
"""The kind of what happened, and its values: numbers and texts."""


class Journal:
    """The table `journal`, to which entries are appended with each commit."""

    def __init__(self, db: PolicyDatabase) -> None:
        """Take the open database."""
        self._db = db
        self._entries: list[Entry] = []
        self._rows: int = db.query("SELECT count(*) FROM journal")[0][0]
        db.before_commit(self._append)

    @property
    def is_long(self) -> bool:
        """Say whether it is time to `replace` it."""
        return self._rows >= MOST_ROWS

    def read(self) -> Iterable[Entry]:
        """Return all entries that were committed, the oldest first."""
        for (entries,) in self._db.query("SELECT entries FROM journal ORDER BY id"):
            yield from map(tuple, json.loads(entries))

    def note(self, *entry: Any) -> None:
        """Append an entry with the next commit."""
        self._entries.append(entry)
        if not self._db.waiting:
            self._db.wait()

    def replace(self, entries: Iterable[Entry]) -> None:
        """Write these in place of all that was noted before, with the next commit."""
        self._rows = 0
        self._db.soon("DELETE FROM journal", ())
        self._entries = list(entries)
        self._db.wait()

    def _append(self) -> None:
        if self._entries:
            entries, self._entries = self._entries, []
            self._rows += 1
            self._db.write("INSERT INTO journal (entries) VALUES (?)", (json.dumps(entries),))
