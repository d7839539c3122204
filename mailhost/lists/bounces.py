"""Whose copies of a list came back, for the panel: read by another process than the daemon."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mailhost.errors import host_errors
from mailhost.paths import Paths
from mailhost.sqlite import read_only

#: Seconds to wait for the daemon's writing.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Bounced:
    """Copies of the list `list` for a member, in lower case, that came back so far.

    `last_at` is when the latest did, in UNIX seconds.
    """

    list: str
    member: str
    count: int
    last_at: int


@host_errors()
def read(root: Path, since: int = 0) -> list[Bounced]:
    """Return those of whom one came back at `since` (UNIX seconds) or later, the oldest first.

    Raises HostError. Without a daemon that ever ran nothing came back.
    """
    file = Paths(root).lists / "lists.sqlite3"
    if not file.exists():
        return []
    with closing(read_only(file, _PATIENCE)) as db:
        query = "SELECT list, member, count, last_at FROM bounce WHERE last_at >= ?"
        return [Bounced(*row) for row in db.execute(f"{query} ORDER BY last_at", (since,))]
