"""ProFTPD's database of who may log in, and its open sessions.

ProFTPD looks for a name in an SQLite database of its own: a file of lines (AuthUserFile) took a
second a login with 10,000 accounts. It is not in WAL mode, of which a reader that may not write
makes a hang; a commit of ours lets a login wait for half a second at the most. Source: ProFTPD's
mod_sql and ftpwho(1).
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mailhost import grammar, programs, sqlite
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.processes import master
from mailhost.store.ftp import FtpUser

# `hash` is a bare one of crypt(3), without Dovecot's {SCHEME}.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    home TEXT NOT NULL,
    fixed INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
_SCHEMES = {"$6$": "{SHA512-CRYPT}", "$2y": "{BLF-CRYPT}"}
# What the scoreboard calls who has not logged in.
_NOBODY_YET = "(none)"
# Seconds in which a session that was asked to end is gone (usually half a second).
_LAST_WORDS = 3.0


class FtpError(HostError):
    """ProFTPD would be told something else than meant, or does not say who is logged in."""


class Ftp:
    """ProFTPD of one server; it need not be running, nor be installed."""

    def __init__(self, paths: Paths) -> None:
        """Name the server; nothing is opened."""
        self._paths = paths

    def put(self, names: Iterable[str], users: Mapping[str, FtpUser]) -> None:
        """Let those of these names log in that are among `users`, and no others of them.

        One transaction; FtpError or sqlite3.Error if it cannot be done.
        """
        rows = [_row(users[name]) for name in names if name in users]
        gone = [(name,) for name in names if name not in users]
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("DELETE FROM account WHERE name = ?", gone)
            db.executemany("INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")

    def all(self) -> Iterator[FtpUser]:
        """Yield who may log in, in the order of names."""
        with self._opened() as db:
            rows = db.execute("SELECT name, hash, home, fixed FROM account ORDER BY name")
            yield from (_user(*row) for row in rows)

    def of(self, names: Collection[str]) -> dict[str, FtpUser]:
        """Return those of these names that may log in."""
        query = "SELECT name, hash, home, fixed FROM account WHERE name IN"
        with self._opened() as db:
            return {row[0]: _user(*row) for row in sqlite.among(db, query, list(names))}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the database, making it if there is none: closed to others from its first byte."""
        file = self._paths.ftp_accounts
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_SCHEMA)
            yield db

    def kick(self, names: Iterable[str]) -> None:
        """End the open sessions of these accounts, and those that have not logged in yet.

        One of the latter may just be comparing with the old password. May raise FtpError.
        """
        gone = {*names, _NOBODY_YET}
        ending = [process for process, user in self.sessions() if user in gone]
        _signal(ending, signal.SIGTERM)
        end = time.monotonic() + _LAST_WORDS
        leader = master(self._paths, "ftp")
        while ending and leader and time.monotonic() < end:
            time.sleep(0.02)
            ending = [process for process in _children(leader) if process in ending]
        _signal(ending, signal.SIGKILL)

    def sessions(self) -> list[tuple[int, str]]:
        """Return process id and account of each connection; who has not logged in is "(none)".

        Raises FtpError if ProFTPD runs and does not say.
        """
        leader = master(self._paths, "ftp")
        if leader is None:
            return []
        try:
            answer = programs.run(["ftpwho", "-f", str(self._paths.ftp_scoreboard), "-o", "json"])
            known = {
                int(one["pid"]): str(one.get("user") or _NOBODY_YET)
                for one in json.loads(answer.out)["connections"]
            }
        except (OSError, ValueError, KeyError, TypeError, programs.TimedOut) as error:
            raise FtpError(f"ftpwho does not tell who is logged in: {error}") from error
        # The scoreboard may lag behind: whoever it does not know has not logged in.
        return [(child, known.get(child, _NOBODY_YET)) for child in _children(leader)]


def _row(user: FtpUser) -> tuple[str, str, str, int]:
    """Return an account's row; FtpError unless every value keeps its grammar."""
    try:
        grammar.check_any_mailbox_name(user.name)
        grammar.check_password_hash(user.password_hash)
        grammar.check_home(user.home)
    except grammar.GrammarError as error:
        raise FtpError(f"not an account for ProFTPD: {error}") from error
    return user.name, user.password_hash.partition("}")[2], user.home, int(user.fixed)


def _user(name: str, hashed: str, home: str, fixed: int) -> FtpUser:
    return FtpUser(name, _SCHEMES.get(hashed[:3], "") + hashed, home, bool(fixed))


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _children(parent: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                # proc(5): the parent is the second field after the name, which is in brackets.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found
