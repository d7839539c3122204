"""Deleted mailboxes whose mail is still there; their addresses are kept from others."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from mailhost import sqlite
from mailhost.records import Mailbox


class Trash:
    """The rows of deleted mailboxes; the mail itself lies in the server's directory `trash`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take the open database."""
        self._db = db

    def all(self) -> list[tuple[str, str, str, datetime]]:
        """Return (id, name, address, deleted at) of all trash, oldest first."""
        rows = self._db.execute(
            "SELECT mailbox_id, name, address, deleted_at FROM trash"
            " ORDER BY deleted_at, mailbox_id"
        )
        return [(row[0], row[1], row[2], datetime.fromisoformat(row[3])) for row in rows]

    def details(self, mailbox_id: str) -> dict[str, str] | None:
        """Return a trash row without its password hash."""
        row = self._db.execute(
            "SELECT name, address, deleted_at FROM trash WHERE mailbox_id = ?", (mailbox_id,)
        ).fetchone()
        return dict(zip(("name", "address", "deleted_at"), row, strict=True)) if row else None

    def addresses_by_id(self, mailbox_ids: Sequence[str]) -> dict[str, str]:
        """Return the addresses of those of these mailboxes that lie here."""
        query = "SELECT mailbox_id, address FROM trash WHERE mailbox_id IN"
        return dict(sqlite.among(self._db, query, mailbox_ids))

    def addresses_of(self, name: str) -> list[str]:
        """Return the addresses under which a mailbox of this name was deleted."""
        rows = self._db.execute("SELECT DISTINCT address FROM trash WHERE name = ?", (name,))
        return [row[0] for row in rows]

    def holds(self, address: str) -> bool:
        """Say whether a deleted mailbox's address is still kept from others."""
        query = "SELECT 1 FROM trash WHERE address = ?"
        return self._db.execute(query, (address,)).fetchone() is not None

    def held(self, addresses: Sequence[str]) -> set[str]:
        """Return those of these addresses that are still kept from others."""
        query = "SELECT address FROM trash WHERE address IN"
        return {row[0] for row in sqlite.among(self._db, query, addresses)}

    def add(self, mailbox: Mailbox, now: datetime) -> None:
        """Remember a mailbox as deleted."""
        self._db.execute(
            "INSERT OR REPLACE INTO trash VALUES (?, ?, ?, ?, ?, ?)",
            (
                mailbox.mailbox_id,
                mailbox.name,
                mailbox.domain,
                mailbox.address,
                mailbox.password_hash,
                now.isoformat(timespec="seconds"),
            ),
        )

    def add_stray(self, mailbox_id: str, now: datetime) -> None:
        """Remember a directory that belongs to no mailbox as trash without a name."""
        self._db.execute(
            "INSERT OR IGNORE INTO trash VALUES (?, '', '', '', '', ?)",
            (mailbox_id, now.isoformat(timespec="seconds")),
        )

    def remove(self, mailbox_ids: Sequence[str]) -> int:
        """Forget these; return how many there were."""
        rows = [(id_,) for id_ in mailbox_ids]
        return self._db.executemany("DELETE FROM trash WHERE mailbox_id = ?", rows).rowcount
