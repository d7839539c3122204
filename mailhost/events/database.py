"""The events daemon's database: what is known, and how far the log has been read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from mailhost.events.parsing import Event
from mailhost.sqlite import transaction

#: Seconds for which events are kept.
KEPT = 14 * 24 * 60 * 60
#: Rows forgotten in one transaction: nobody waits long for it.
PORTION = 5000
# A message leaves Postfix's queue after eight days (main.cf).
_QUEUED = 10 * 24 * 60 * 60
ROW = "number, at, kind, queue_id, sender, recipient, original, relay, code, reason"


class Position(NamedTuple):
    """How far a log file has been read: its inode, how it begins, and bytes."""

    inode: int
    head: bytes
    offset: int


class EventDatabase:
    """The open file, to be used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it, closed to others, if there is none."""
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is read from the log once more: events and position go together.
        self._db.execute("PRAGMA synchronous = NORMAL")
        schema = resources.files("mailhost.events").joinpath("schema.sql").read_text()
        self._db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def position(self) -> Position | None:
        """Return how far the log has been read; None before the first time."""
        inode, head, offset = self._db.execute('SELECT inode, head, "offset" FROM state').fetchone()
        return None if inode is None else Position(inode, bytes(head), offset)

    def senders(self) -> dict[str, str]:
        """Return who sent what was in Postfix's queue at that position, by queue id."""
        return dict(self._db.execute("SELECT queue_id, sender FROM queued"))

    def last_number(self) -> int:
        """Return the newest event's number, 0 before the first."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return int(row[0]) if row else 0

    def begin(self, at: float) -> None:
        """Note that what was logged before then (UNIX seconds) is not known, or not all of it."""
        self._db.execute("UPDATE alive SET since = ?", (at,))

    def note_alive(self, at: float) -> None:
        """Note that all which was logged until then (UNIX seconds) is known."""
        self._db.execute("UPDATE alive SET at = ?", (at,))

    def keep(
        self,
        events: Sequence[Event],
        position: Position,
        came: Mapping[str, str],
        went: Iterable[str],
        now: float,
    ) -> None:
        """Keep events and the position up to which they were read: both or neither.

        `came` and `went` are the messages that have come into the queue, with their senders, and
        left it.
        """
        with transaction(self._db):
            self._db.executemany(
                "INSERT INTO event (at, kind, queue_id, sender, recipient, original, relay, code,"
                " reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                events,
            )
            self._db.execute('UPDATE state SET inode = ?, head = ?, "offset" = ?', position)
            self._db.executemany(
                "INSERT OR REPLACE INTO queued VALUES (?, ?, ?)",
                [(queue_id, sender, int(now)) for queue_id, sender in came.items()],
            )
            self._db.executemany(
                "DELETE FROM queued WHERE queue_id = ?", [(queue_id,) for queue_id in went]
            )

    def forget(self, now: float) -> bool:
        """Delete some of what is older than KEPT; return whether there may be more of it."""
        first = self._db.execute("SELECT min(number) FROM event").fetchone()[0]
        if first is None:
            return False
        with transaction(self._db):
            # By numbers, which are in the order of time.
            gone = self._db.execute(
                "DELETE FROM event WHERE number < ? AND at < ?", (first + PORTION, now - KEPT)
            ).rowcount
            self._db.execute("DELETE FROM queued WHERE at < ?", (now - _QUEUED,))
        return gone == PORTION
