"""The SQLite file: opened, closed to others, and changed by whole transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from pathlib import Path

from mailhost import sqlite

# Kibibytes of the file that may be kept in memory, and while millions of rows are written.
_MEMORY, _MORE_MEMORY = 65_536, 1_000_000

#: What schema.sql makes; migrations/N_to_M.sql bring an older database there.
VERSION = 6


class Database:
    """The open database. To be changed only by who holds the server's lock."""

    def __init__(self, path: Path) -> None:
        """Open the database, making it if there is none."""
        new = not path.exists()
        if new:
            # Closed to others from its first byte; SQLite gives -wal and -shm the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        # SQLite's 2 MB are too few for the indexes that a batch of thousands changes.
        self._db.execute(f"PRAGMA cache_size = -{_MEMORY}")
        version = self._version()
        if version == 0:
            self._run("schema.sql")
        while 0 < version < VERSION:
            self._run(f"migrations/{version}_to_{version + 1}.sql")
            version = self._version()

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _run(self, name: str) -> None:
        """Run a script of ours, all of it or nothing."""
        script = resources.files("mailhost.store").joinpath(name).read_text()
        try:
            self._db.executescript(f"BEGIN EXCLUSIVE; {script} COMMIT;")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Do all of the block or, if it raises, nothing."""
        return sqlite.transaction(self._db)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Do all of the block or nothing, with memory for a transaction of millions of rows."""
        self._db.execute(f"PRAGMA cache_size = -{_MORE_MEMORY}")
        try:
            with self.transaction():
                yield
            # Or every reader would go through a log as long as the database.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._db.execute(f"PRAGMA cache_size = -{_MEMORY}")

    @contextmanager
    def without_indexes(self) -> Iterator[None]:
        """Make the indexes after the rows: sorting them once is much quicker.

        Dovecot 2.3 answers the first query after a change of the schema with a temporary
        failure in each of its workers, so it has to be reloaded, or not to run.
        """
        indexes = self._db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            self._db.execute(f"DROP INDEX {name}")
        yield
        for _, statement in indexes:
            self._db.execute(statement)
