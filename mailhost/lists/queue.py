"""What has been taken for members and is not yet with Postfix: one SQLite file.

A copy is written before Postfix hears "taken", begun before Postfix is offered it, and
removed once Postfix has it. Of one that was begun when the daemon was killed, Postfix's log
tells whether it arrived: it names each copy there (XFORWARD IDENT, as orig_queue_id).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

#: How much of the log's end is searched for copies: a kill is followed by a start soon.
_TAIL = 64 * 1024 * 1024
#: Seconds for which it is remembered that a member's copy came back.
_BOUNCES_KEPT = 90 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Copy:
    """One member's copy; `name` is its own for ever."""

    post: int
    list: str
    member: str
    name: str


class Queue:
    """The open file. To be used by the daemon alone, from any of its threads in turn."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it, closed to others, if there is none."""
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        schema = resources.files("mailhost.lists").joinpath("schema.sql").read_text()
        self._db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def take(self, list_address: str, members: tuple[str, ...], content: bytes) -> None:
        """Keep a message for these members; it is on the disk when this returns."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            post = self._db.execute(
                "INSERT INTO post (list, content, taken_at) VALUES (?, ?, ?)",
                (list_address, content, int(time.time())),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO copy (post, member, name) VALUES (?, ?, ?)",
                [(post, member, secrets.token_hex(12)) for member in members],
            )
            # What came back is of interest for a while, and of who is a member.
            self._db.execute(
                "DELETE FROM bounce WHERE list = ? AND (last_at < ?"
                " OR member NOT IN (SELECT lower(value) FROM json_each(?)))",
                (list_address, int(time.time()) - _BOUNCES_KEPT, json.dumps(members)),
            )

    def waiting(self, most: int) -> list[Copy]:
        """Return the copies to send next, oldest message first."""
        rows = self._db.execute(
            "SELECT copy.post, post.list, member, name FROM copy JOIN post ON post.id = copy.post"
            " ORDER BY copy.post, member LIMIT ?",
            (most,),
        )
        return [Copy(*row) for row in rows]

    def content(self, post: int) -> bytes:
        """Return a message as it was posted."""
        row = self._db.execute("SELECT content FROM post WHERE id = ?", (post,)).fetchone()
        return bytes(row[0])

    def begin(self, copy: Copy) -> None:
        """Remember that Postfix is about to be offered this copy."""
        self._db.execute("UPDATE copy SET begun = 1 WHERE name = ?", (copy.name,))

    def give_back(self, copy: Copy) -> None:
        """Remember that Postfix certainly did not take it."""
        self._db.execute("UPDATE copy SET begun = 0 WHERE name = ?", (copy.name,))

    def done(self, copy: Copy) -> None:
        """Forget a copy, and the message with its last one."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM copy WHERE name = ?", (copy.name,))
            self._db.execute(
                "DELETE FROM post WHERE id = ? AND NOT EXISTS (SELECT 1 FROM copy WHERE post = ?)",
                (copy.post, copy.post),
            )

    def begun(self) -> list[Copy]:
        """Return the copies of which it is not known whether Postfix has them."""
        rows = self._db.execute(
            "SELECT copy.post, post.list, member, name FROM copy JOIN post ON post.id = copy.post"
            " WHERE begun = 1"
        )
        return [Copy(*row) for row in rows]

    def came_back(self, list_address: str, member: str) -> None:
        """Count a copy that could not be delivered."""
        self._db.execute(
            "INSERT INTO bounce VALUES (?, ?, 1, ?) ON CONFLICT (list, member)"
            " DO UPDATE SET count = count + 1, last_at = excluded.last_at",
            (list_address, member.lower(), int(time.time())),
        )

    def bounces(self, list_address: str) -> dict[str, int]:
        """Return how many copies came back, by member in lower case."""
        query = "SELECT member, count FROM bounce WHERE list = ?"
        return dict(self._db.execute(query, (list_address,)).fetchall())


def arrived(log: Path, name: str) -> bool:
    """Say whether Postfix's log shows the copy of this name in Postfix's queue."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read()
    except FileNotFoundError:
        return False
    for match in re.finditer(rb": (\w+): client=[^\n]*orig_queue_id=" + name.encode(), text):
        # The queue manager speaks of it only once it was taken as a whole.
        if re.search(rb"/qmgr\[\d+\]: " + match[1] + rb": from=", text):
            return True
    return False
