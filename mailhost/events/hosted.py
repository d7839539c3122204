"""Which domains are this server's: one question each, until the store changes."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from mailhost.sqlite import read_only

# Answers kept at once.
_MOST = 50_000


class Hosted:
    """The store's domains, read only."""

    def __init__(self, store: Path) -> None:
        """Open the store, which `init` has made."""
        self._db = read_only(store, patience=10)
        self._version = -1
        self._known: dict[str, bool] = {}

    def close(self) -> None:
        """Close the store."""
        with suppress(sqlite3.Error):
            self._db.close()

    def refresh(self) -> None:
        """Forget the answers if the store has changed since, or if they are too many."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version or len(self._known) > _MOST:
            self._version = version
            self._known.clear()

    def is_hosted(self, domain: str) -> bool:
        """Say whether this server takes the domain's mail."""
        try:
            return self._known[domain]
        except KeyError:
            query = "SELECT 1 FROM domain WHERE name = ?"
            found = self._db.execute(query, (domain,)).fetchone() is not None
            self._known[domain] = found
            return found
