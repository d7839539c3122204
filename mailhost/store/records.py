"""What the server was told: of two changes of one key the newer counts, a deletion included."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mailhost import sqlite
from mailhost.errors import HostError
from mailhost.records import Entry, Record, record_from

_PUT = """
INSERT INTO record (key, change, value) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET change = excluded.change, value = excluded.value
WHERE excluded.change > record.change
"""


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry that was newer than the store's, and what the store held before."""

    entry: Entry
    old: Record | None

    @property
    def name(self) -> str:
        """The key without its kind."""
        return self.entry.key.partition(":")[2]


def _read(key: str, value: str) -> Record:
    """Read a record back. HostError if someone wrote into the store by hand."""
    try:
        return record_from(key, json.loads(value))
    except ValueError as error:
        raise HostError(f"the store's {key} cannot be read: {error}") from error


def _written(entry: Entry) -> str | None:
    return json.dumps(entry.record.value()) if entry.record else None


class Records:
    """The server's truth, from which everything else follows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the open database."""
        self._db = db

    def live(self) -> Iterator[Entry]:
        """Yield every live record, in the order of keys."""
        rows = self._db.execute(
            "SELECT key, change, value FROM record WHERE value IS NOT NULL ORDER BY key"
        )
        for key, change, value in rows:
            yield Entry(key, change, _read(key, value))

    def get(self, key: str) -> Record | None:
        """Return what the server holds as `key`."""
        return self.read(key)[1]

    def read(self, key: str) -> tuple[int, Record | None]:
        """Return the number of the change that last wrote or deleted `key`, and its record."""
        return self.read_all([key]).get(key, (0, None))

    def read_all(self, keys: Sequence[str]) -> dict[str, tuple[int, Record | None]]:
        """Return what `read` does for each of these keys of which the server has heard."""
        query = "SELECT key, change, value FROM record WHERE key IN"
        return {
            key: (change, _read(key, value) if value else None)
            for key, change, value in sqlite.among(self._db, query, keys)
        }

    def changes_of(self, keys: Sequence[str]) -> dict[str, int]:
        """Return the number of the change that last wrote or deleted each key heard of."""
        return dict(sqlite.among(self._db, "SELECT key, change FROM record WHERE key IN", keys))

    def highest_change(self) -> int:
        """Return the highest change number in the store, 0 if it is empty."""
        return int(self._db.execute("SELECT coalesce(max(change), 0) FROM record").fetchone()[0])

    def of_kind(self, kind: str) -> Iterator[Entry]:
        """Yield the live records whose key begins with "KIND:", in the order of keys."""
        rows = self._db.execute(
            "SELECT key, change, value FROM record"
            " WHERE key > ? AND key < ? AND value IS NOT NULL ORDER BY key",
            (f"{kind}:", f"{kind};"),
        )
        for key, change, value in rows:
            yield Entry(key, change, _read(key, value))

    def put(self, entries: Sequence[Entry]) -> list[Changed]:
        """Write what is newer than the store's, and return it; at most one entry per key."""
        held = self.read_all([entry.key for entry in entries])
        changed = [
            Changed(entry, old)
            for entry in entries
            for change, old in [held.get(entry.key, (0, None))]
            if entry.change > change
        ]
        rows = [(item.entry.key, item.entry.change, _written(item.entry)) for item in changed]
        self._db.executemany(_PUT, rows)
        return changed

    def load(self, entries: Iterable[Entry]) -> None:
        """Write records whose keys are not there yet."""
        self._db.executemany(
            "INSERT INTO record VALUES (?, ?, ?)",
            [(e.key, e.change, json.dumps(e.record.value())) for e in entries if e.record],
        )
