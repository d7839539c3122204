"""Which domains are to have webmail, and of which the web server may still do something else.

The latter is remembered in the transaction that changes it, and forgotten once the domain's
directory is there, or gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from mailhost import sqlite
from mailhost.store.records import Changed

_WANTED = (
    "SELECT domain.name FROM record JOIN domain ON domain.name = substr(key, 9)"
    " WHERE value IS NOT NULL AND"
)


class WebmailDomains:
    """The domains with webmail, as one database says they shall be."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the open database."""
        self._db = db

    def all(self) -> list[str]:
        """Return the hosted domains that are to have webmail, in the order of names."""
        query = f"{_WANTED} key > 'webmail:' AND key < 'webmail;' ORDER BY key"
        return [row[0] for row in self._db.execute(query)]

    def of(self, domains: Sequence[str]) -> set[str]:
        """Return those of these domains that are hosted and are to have webmail."""
        keys = [f"webmail:{domain}" for domain in domains]
        return {row[0] for row in sqlite.among(self._db, f"{_WANTED} key IN", keys)}

    def mark_changed(self, changed: Iterable[Changed]) -> None:
        """Mark as dirty the domains whose webmail these may begin or end."""
        self.mark_dirty(
            item.name for item in changed if item.entry.key.startswith(("webmail:", "domain:"))
        )

    def mark_dirty(self, domains: Iterable[str]) -> None:
        """Remember domains for which the web server may not do what it shall."""
        rows = ((domain,) for domain in domains)
        self._db.executemany("INSERT OR IGNORE INTO webmail_dirty VALUES (?)", rows)

    def dirty(self) -> list[str]:
        """Return these domains, in the order of names."""
        return [row[0] for row in self._db.execute("SELECT domain FROM webmail_dirty ORDER BY 1")]

    def forget_dirty(self) -> None:
        """The web server does what it shall for all of them."""
        self._db.execute("DELETE FROM webmail_dirty")
