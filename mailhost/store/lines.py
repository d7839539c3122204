"""What each Postfix map shall hold, and which of its lines may be wrong there.

The views map_* of schema.sql say the former. A line that changes in a transaction
is marked dirty in that same transaction, and forgotten once the map has it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from mailhost import sqlite

Place = tuple[str, str]
"""A map's name and a key in it."""

# The maps that have a line about an address.
_ADDRESS_MAPS = ("mailboxes", "aliases", "refused", "transport")


class Lines:
    """The maps' lines, as one database says they shall be."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the open database."""
        self._db = db

    def at(self, name: str, key: str) -> str | None:
        """Return what the map `name` shall answer for `key`."""
        query = f"SELECT value FROM map_{name} WHERE key = ?"  # noqa: S608 (a map's name)
        row = self._db.execute(query, (key,)).fetchone()
        return row[0] if row else None

    def of(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Return what the map `name` shall answer for each of these keys that it shall have."""
        query = f"SELECT key, value FROM map_{name} WHERE key IN"  # noqa: S608 (a map's name)
        return dict(sqlite.among(self._db, query, keys))

    def all(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield all that the map `name` shall hold, in the order of the keys' bytes."""
        query = f"SELECT key, value FROM map_{name} ORDER BY key"  # noqa: S608 (a map's name)
        return self._db.execute(query)

    def source(self, name: str) -> Iterator[str]:
        """Yield what `all` does as source lines for postmap.

        Put together by SQLite: of a million, that takes half a second less.
        """
        line = "key || char(9) || value || char(10)"
        query = f"SELECT {line} FROM map_{name} ORDER BY key"  # noqa: S608 (a map's name)
        return chain.from_iterable(self._db.execute(query))

    def now(self, addresses: Iterable[str], domains: Iterable[str]) -> dict[Place, str]:
        """Return every line about these addresses and domains, to compare before with after."""
        keys = list(addresses)
        lines = {
            (name, key): value
            for name in _ADDRESS_MAPS
            for key, value in self.of(name, keys).items()
        }
        hosted = self.of("domains", list(domains))
        return lines | {("domains", key): value for key, value in hosted.items()}

    def mark_changed(self, before: dict[Place, str], after: dict[Place, str]) -> None:
        """Mark as dirty what differs between two answers of `now`."""
        places = before.keys() | after.keys()
        self.mark_dirty(place for place in places if before.get(place) != after.get(place))

    def mark_dirty(self, places: Iterable[Place]) -> None:
        """Remember (map, key) pairs whose line may be wrong in the map."""
        self._db.executemany("INSERT OR IGNORE INTO dirty VALUES (?, ?)", sorted(places))

    def dirty(self) -> dict[str, list[str]]:
        """Return the keys to be brought to each map."""
        keys: dict[str, list[str]] = defaultdict(list)
        for name, key in self._db.execute("SELECT map, key FROM dirty"):
            keys[name].append(key)
        return keys

    def forget_dirty(self, name: str) -> None:
        """The map `name` now is as it shall be."""
        self._db.execute("DELETE FROM dirty WHERE map = ?", (name,))
