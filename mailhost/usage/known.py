"""Which mailboxes are full, for who judges mail as it comes: one small question each."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from mailhost.sqlite import read_only

#: Seconds within which whoever reads learns that the usage daemon lives.
HEARTBEAT = 30.0
#: Seconds after which figures say nothing more: the usage daemon is down, and a mailbox that
#: was full may have room again. Dovecot itself still refuses what does not fit.
STALE = 10 * HEARTBEAT
# Seconds until a file that is not there, or cannot be read, is looked for again.
_LATER = 5.0


class Known:
    """The usage daemon's figures, read only."""

    def __init__(self, path: Path) -> None:
        """Take the file, which need not be there yet."""
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._look_at = 0.0
        self._version = -1
        self._valid_until = 0.0

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def is_current(self, now: float) -> bool:
        """Say whether the figures can be believed now; `refresh` comes first."""
        return self._db is not None and now <= self._valid_until

    def is_full(self, mailbox_id: str) -> bool:
        """Say whether the mailbox was full when it was last counted."""
        if self._db is None:
            return False
        query = 'SELECT used >= "limit" FROM usage WHERE mailbox_id = ?'
        try:
            row = self._db.execute(query, (mailbox_id,)).fetchone()
        except sqlite3.Error:
            self.close()
            return False
        return bool(row and row[0])

    def refresh(self, now: float) -> bool:
        """Look at the figures as they are now; say whether they have changed since."""
        if not self.is_current(now) and now >= self._look_at:
            # It may be another file by now.
            self.close()
            self._open(now)
        if self._db is None:
            return False
        try:
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            alive_at = self._db.execute("SELECT alive_at FROM state").fetchone()[0]
        except sqlite3.Error:
            self.close()
            return True
        self._version, self._valid_until = version, alive_at + STALE
        return True

    def _open(self, now: float) -> None:
        self._look_at = now + _LATER
        with suppress(OSError, sqlite3.Error):
            if self._path.exists():
                self._db = read_only(self._path, patience=1)
                self._version = -1
