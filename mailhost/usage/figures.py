"""How full mailboxes are, for the panel's worker and the Wednesday job: as cheap as it can be.

Dovecot counts a mailbox; the usage daemon asks it whenever a mailbox has changed and keeps the
answer. What is read here are those answers, by an index, without a lock that the daemon would
wait for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailhost.config import load_config
from mailhost.dovecot import NoAnswer
from mailhost.errors import HostError, host_errors
from mailhost.paths import Paths
from mailhost.sqlite import read_only
from mailhost.usage.counting import BATCH, Boxes, Counter
from mailhost.usage.database import ROW, Usage, UsageDatabase

__all__ = ["FiguresError", "News", "Usage", "full", "of_account", "read", "recount"]

#: Rows that `read` returns at once: the first time all mailboxes are news.
MOST_ROWS = 2000
# Seconds to wait for the daemon's writing.
_PATIENCE = 10.0


class FiguresError(HostError):
    """The figures cannot be read, or Dovecot cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class News:
    """What has changed; `cursor` is for the next time, at once if there is `more`."""

    rows: list[Usage]
    cursor: str
    more: bool


def read(root: Path, cursor: str = "") -> News:
    """Return what has changed since `cursor`, the oldest first; "": everything.

    At most MOST_ROWS at once. Everything comes anew where the figures were lost, and nothing
    before the usage daemon's first start. A mailbox that was counted again and found the same
    is no news, and one that is gone just disappears. Raises FiguresError.
    """
    with _reading(root) as db:
        if db is None:
            return News([], cursor, more=False)
        identity = db.execute("SELECT identity FROM state").fetchone()[0]
        known, _, number = cursor.partition(".")
        since = int(number) if known == identity and number.isdecimal() else 0
        rows = db.execute(
            f"SELECT {ROW}, changed FROM usage WHERE changed > ?"  # noqa: S608 (above)
            " ORDER BY changed LIMIT ?",
            (since, MOST_ROWS + 1),
        ).fetchall()
    more, rows = len(rows) > MOST_ROWS, rows[:MOST_ROWS]
    until = rows[-1][-1] if rows else since
    return News([Usage(*row[:-1]) for row in rows], f"{identity}.{until}", more)


def of_account(root: Path, name: str) -> Usage | None:
    """Return what is known of the mailbox `name`, None if it was not counted yet.

    Raises FiguresError.
    """
    with _reading(root) as db:
        if db is None:
            return None
        query = f"SELECT {ROW} FROM usage WHERE account = ? ORDER BY asked_at DESC"  # noqa: S608 (above)
        row = db.execute(query, (name,)).fetchone()
    return Usage(*row) if row else None


def full(root: Path) -> list[Usage]:
    """Return the mailboxes at or above their limit, by their names. Raises FiguresError."""
    with _reading(root) as db:
        if db is None:
            return []
        query = f'SELECT {ROW} FROM usage WHERE used >= "limit" ORDER BY account'  # noqa: S608
        return list(map(Usage._make, db.execute(query)))


@host_errors()
def recount(root: Path, names: Iterable[str] | None = None) -> int:
    """Ask Dovecot now about these mailboxes (None: all) and keep the answers; return how many.

    A name that is no mailbox here is passed over. FiguresError if Dovecot does not answer, or
    if it cannot count some of them: the others are kept.
    """
    load_config(root)
    paths = Paths(root.absolute())
    if not paths.usage.is_dir():
        raise FiguresError(f"{paths.root} was made by an earlier version: run init again first.")
    counted = 0
    failed: list[str] = []
    with closing(UsageDatabase(paths.usage_db)) as db, closing(Boxes(paths.store)) as boxes:
        counter = Counter(paths, db, boxes)
        wanted = [box.account for box in boxes.all()] if names is None else [*dict.fromkeys(names)]
        for start in range(0, len(wanted), BATCH):
            some = wanted[start : start + BATCH]
            try:
                done, missing = counter.count(some)
            except NoAnswer as error:
                raise FiguresError(f"Dovecot does not answer: {error}") from error
            counted, failed = counted + done, failed + missing
    if failed:
        raise FiguresError(f"Dovecot could not count {', '.join(failed[:10])} (see dovecot.log)")
    return counted


@contextmanager
def _reading(root: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the figures for reading, as they are at this moment; None where there are none yet."""
    path = Paths(root.absolute()).usage_db
    try:
        if not path.exists():
            yield None
            return
        with closing(read_only(path, _PATIENCE)) as db:
            yield db
    except (OSError, sqlite3.Error) as error:
        raise FiguresError(f"{path}: {error}") from error
