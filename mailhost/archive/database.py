"""What is on record about archives: an SQLite file that only root reads.

Every state of a run is committed and on the disk (`synchronous = FULL`) before what depends on it
is done; schema.sql says what each state promises. The rows of a mailbox are changed only by who
holds its lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from typing import Any, Self

from mailhost import grammar, locks, sqlite
from mailhost.archive.errors import ArchiveError
from mailhost.archive.records import Archive
from mailhost.paths import Paths

#: Seconds to wait for another process's writing.
PATIENCE = 30.0
_ARCHIVE = ", ".join(Archive.__slots__)


class Database:
    """The open file."""

    def __init__(self, paths: Paths) -> None:
        """Open the file, making it if there is none."""
        self._directory = paths.archive
        # A server made by an earlier version has no such directory yet.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / "archive.sqlite3"
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
            schema = resources.files("mailhost.archive").joinpath("schema.sql").read_text()
            self._db.executescript(f"BEGIN EXCLUSIVE; {schema} COMMIT;")

    def __enter__(self) -> Self:
        """Close the file at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Do all of the block or, if it raises, nothing."""
        return sqlite.transaction(self._db)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement."""
        return self._db.execute(statement, values)

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        return self._db.execute(query, values).fetchall()

    def many(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        """Run a statement for each row."""
        self._db.executemany(statement, rows)

    @contextmanager
    def lock(self, mailbox_id: str) -> Iterator[None]:
        """Be the only one at work on a mailbox; ArchiveError "busy" if another is.

        The kernel frees it when this process dies.
        """
        grammar.check_mailbox_id(mailbox_id)
        directory = self._directory / "locks"
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = locks.take(directory / mailbox_id)
        if descriptor is None:
            text = "Another process is at work on this account's archives: try again later."
            raise ArchiveError("busy", text)
        try:
            yield
        finally:
            os.close(descriptor)

    # Archives

    def archives(self, condition: str = "1", *values: Any) -> list[Archive]:
        """Return archives in the order of their numbers, or as `condition` says."""
        query = f"SELECT {_ARCHIVE} FROM archive WHERE {condition}"  # noqa: S608 (of this package)
        return [Archive(*row) for row in self._db.execute(query, values)]

    def archive(self, archive_id: int) -> tuple[Archive, str]:
        """Return an archive and its home; ArchiveError "no_archive"."""
        found = self.archives("id = ?", archive_id)
        if not found:
            raise ArchiveError("no_archive", f"There is no archive with the number {archive_id}.")
        row = self.execute("SELECT home FROM archive WHERE id = ?", archive_id).fetchone()
        return found[0], row["home"]

    def next_change(self) -> int:
        """Return the number for the next change of an archive's row; within a transaction."""
        return int(self.execute("SELECT coalesce(max(changed), 0) + 1 FROM archive").fetchone()[0])

    def mark(self, archive_id: int, state: str) -> bool:
        """Give an archive another state; return whether it had another one."""
        with self.transaction():
            return bool(
                self.execute(
                    "UPDATE archive SET state = ?, changed = ? WHERE id = ? AND state <> ?",
                    state,
                    self.next_change(),
                    archive_id,
                    state,
                ).rowcount
            )
