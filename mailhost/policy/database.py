"""The policy daemon's memory: an SQLite file, and one commit for all that came in together.

A write waits for the end of the event loop's turn; what was written in one turn is committed at
once, and only then does Postfix get its answer: a process that is killed has forgotten no
recipient that it answered for. Dovecot, which waits for no answer to a report, gets it at once.
The file is not synced at each commit (`synchronous = NORMAL` with a
write-ahead log): a power cut may lose the last half minute, as Linux writes it, never the file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from importlib import resources
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

#: What schema.sql makes; migrations/N_to_M.sql bring an older file there.
VERSION = 1

_log = logging.getLogger(__name__)
_statement = itemgetter(0)


class PolicyDatabase:
    """The open file. To be used by the daemon alone."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it, closed to others, if there is none."""
        self.path = path
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        # 32 MB: each checkpoint waits for the disk.
        self._db.execute("PRAGMA wal_autocheckpoint = 8000")
        self._prepare()
        self._writes: list[tuple[str, tuple[Any, ...]]] = []
        self._then: list[Callable[[bool], None]] = []
        #: A commit is under way for the end of this turn.
        self.waiting = False
        self._before: list[Callable[[], None]] = []
        #: The last commit failed: what it should have written still waits.
        self.failing = False

    def _prepare(self) -> None:
        """Make what schema.sql says, out of an earlier version's tables where there are some."""
        scripts = resources.files("mailhost.policy")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        names = [f"migrations/{n}_to_{n + 1}.sql" for n in range(version, VERSION) if tables]
        script = "".join(scripts.joinpath(name).read_text() for name in [*names, "schema.sql"])
        try:
            self._db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
        except sqlite3.Error:
            self._db.close()
            raise

    def before_commit(self, call: Callable[[], None]) -> None:
        """Call this before each commit. It may raise OSError: then nothing is committed yet."""
        self._before.append(call)

    def wait(self) -> None:
        """Commit at the end of this turn of the event loop; at once where no loop runs."""
        if not self.waiting:
            self._await_turn()

    def soon(self, statement: str, values: tuple[Any, ...]) -> None:
        """Write at the end of this turn of the event loop; at once where no loop runs."""
        self._writes.append((statement, values))
        if not self.waiting:
            self._await_turn()

    def then(self, call: Callable[[bool], None]) -> None:
        """Call back after the commit that ends this turn, with whether it succeeded."""
        self._then.append(call)
        if not self.waiting:
            self._await_turn()

    def _await_turn(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()  # There are no turns without a loop.
            return
        self.waiting = True
        # What has come in the meantime is read in between, and shares the commit.
        loop.call_soon(loop.call_soon, self.flush)

    def flush(self) -> None:
        """Write and commit what waits, then call back with whether that succeeded.

        What cannot be written, on a full disk say, waits for the next time: whoever keeps the
        same in memory need not take it back.
        """
        self.waiting = False
        writes, self._writes = self._writes, []
        calls, self._then = self._then, []
        try:
            for call in self._before:
                call()
            if writes:
                self._commit(writes)
            self.failing = False
        except (OSError, sqlite3.OperationalError) as error:
            _log.error("not written: %s", error)
            self.failing = True
            self._writes = writes + self._writes
        for tell in calls:
            tell(not self.failing)

    def _commit(self, writes: list[tuple[str, tuple[Any, ...]]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            try:
                for statement, rows in groupby(writes, _statement):
                    self._db.executemany(statement, [values for _, values in rows])
            except sqlite3.OperationalError:
                raise
            except Exception:
                # One that can never be written must not keep the others.
                _log.exception("what cannot be written is left out")
                self._db.execute("ROLLBACK")
                self._db.execute("BEGIN IMMEDIATE")
                self._write_each(writes)
            self._db.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _write_each(self, writes: list[tuple[str, tuple[Any, ...]]]) -> None:
        for statement, values in writes:
            try:
                self._db.execute(statement, values)
            except sqlite3.OperationalError:
                raise
            except Exception as error:
                _log.error("left out: %s: %a", error, statement)

    def query(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of a query, what waits to be written included."""
        if self._writes:
            self.flush()
        return self._db.execute(query, values).fetchall()

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        self._db.close()
