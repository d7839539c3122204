"""Who may log in by FTP, and of whom ProFTPD may still hold something else.

The view ftp_user of schema.sql says the former. The latter is remembered in the transaction
that changes it, and forgotten once ProFTPD's database has it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mailhost import sqlite


class FtpUser(NamedTuple):
    """An account with FTP switched on. `home` is below the server's directory of homes."""

    name: str
    password_hash: str
    home: str
    fixed: bool


class FtpUsers:
    """The accounts with FTP, as one database says they shall be."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the open database."""
        self._db = db

    def all(self) -> Iterator[FtpUser]:
        """Yield all of them, in the order of names."""
        rows = self._db.execute("SELECT name, password_hash, home, fixed FROM ftp_user ORDER BY 1")
        return (FtpUser(name, hashed, home, bool(fixed)) for name, hashed, home, fixed in rows)

    def of(self, names: Sequence[str]) -> dict[str, FtpUser]:
        """Return those of these names that may log in."""
        query = "SELECT name, password_hash, home, fixed FROM ftp_user WHERE name IN"
        return {
            name: FtpUser(name, hashed, home, bool(fixed))
            for name, hashed, home, fixed in sqlite.among(self._db, query, names)
        }

    def among(self, domains: Iterable[str]) -> dict[str, FtpUser]:
        """Return those of these domains, by name."""
        query = "SELECT name FROM mailbox WHERE domain = ? AND ftp = 1"
        names = [row[0] for domain in domains for row in self._db.execute(query, (domain,))]
        return self.of(names)

    def mark_changed(self, before: dict[str, FtpUser], after: dict[str, FtpUser]) -> None:
        """Mark as dirty what differs between two answers of `of`.

        Whose sessions have to end is marked as well: who may no longer log in, or by another
        password, or sees something else now.
        """
        names = before.keys() | after.keys()
        self.mark_dirty(name for name in names if before.get(name) != after.get(name))
        gone = [(name,) for name, user in before.items() if after.get(name) != user]
        self._db.executemany("INSERT OR IGNORE INTO kick VALUES (?)", gone)

    def mark_dirty(self, names: Iterable[str]) -> None:
        """Remember names about which ProFTPD's database may be wrong."""
        rows = ((name,) for name in names)
        self._db.executemany("INSERT OR IGNORE INTO ftp_dirty VALUES (?)", rows)

    def dirty(self) -> list[str]:
        """Return these names."""
        return [row[0] for row in self._db.execute("SELECT name FROM ftp_dirty")]

    def forget_dirty(self) -> None:
        """ProFTPD's database is right about all of them."""
        self._db.execute("DELETE FROM ftp_dirty")
