"""What became of messages, for the panel's worker: the news since a cursor, in the log's order."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailhost.errors import HostError
from mailhost.events.database import ROW
from mailhost.events.parsing import EXPIRED, Event
from mailhost.paths import Paths
from mailhost.sqlite import read_only

__all__ = ["EXPIRED", "Event", "EventsError", "News", "read"]

#: Events that `read` returns at once.
MOST_ROWS = 5000
# Seconds to wait for the daemon's writing.
_PATIENCE = 10.0


class EventsError(HostError):
    """The events cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class News:
    """What happened; `cursor` is for the next time, at once if there is `more`.

    All of the log `since` then and until `alive_at` is known to the daemon (UNIX seconds), as far
    as it is kept; 0 before it has seen the log's end for the first time.
    """

    events: list[Event]
    cursor: str
    more: bool
    since: float = 0.0
    alive_at: float = 0.0


def read(root: Path, cursor: str = "") -> News:
    """Return what happened since `cursor`, the oldest first; "": all that is kept.

    At most MOST_ROWS at once. Everything comes anew where the daemon's file was lost, and nothing
    before its first start. Raises EventsError.
    """
    path = Paths(root.absolute()).events_db
    try:
        if not path.exists():
            return News([], cursor, more=False)
        with closing(read_only(path, _PATIENCE)) as db:
            return _read(db, cursor)
    except (OSError, sqlite3.Error) as error:
        raise EventsError(f"{path}: {error}") from error


def _read(db: sqlite3.Connection, cursor: str) -> News:
    identity = db.execute("SELECT identity FROM state").fetchone()[0]
    # Before the events, of which some may come while we read.
    began, alive_at = db.execute("SELECT since, at FROM alive").fetchone()
    known, _, number = cursor.partition(".")
    since = int(number) if known == identity and number.isdecimal() else 0
    query = f"SELECT {ROW} FROM event WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608
    rows = db.execute(query, (since, MOST_ROWS + 1)).fetchall()
    more, rows = len(rows) > MOST_ROWS, rows[:MOST_ROWS]
    until = rows[-1][0] if rows else since
    events = [Event(*row[1:]) for row in rows]
    return News(events, f"{identity}.{until}", more, began, alive_at)
