"""The figures' file: what Dovecot answered, and whom it has to be asked about.

The usage daemon writes it, and so does whoever has Dovecot asked at once (`figures.recount`);
each of the calls below is one transaction. The file is not synced at each commit
(`synchronous = NORMAL` with a write-ahead log): what a power cut loses is counted anew.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from mailhost.dovecot import Size
from mailhost.sqlite import transaction

#: Of names in one query: SQLite's parameters end at 32,766.
_MOST_NAMES = 5000
#: A figure's columns, in the order of Usage.
ROW = 'mailbox_id, account, domain, used, messages, "limit", asked_at'


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox on record, and how many bytes it may hold."""

    mailbox_id: str
    account: str
    domain: str
    limit: int


class Usage(NamedTuple):
    """What a mailbox held when Dovecot was asked, all folders together.

    `used` is counted in bytes with line ends of two, as mail programs and Dovecot count;
    `limit` is the one in force on the server. `asked_at` is UNIX seconds. A tuple, because it is
    made from a row in a tenth of the time: ten thousand may be full.
    """

    mailbox_id: str
    account: str
    domain: str
    used: int
    messages: int
    limit: int
    asked_at: float

    @property
    def full(self) -> bool:
        """Say whether new mail is refused from now on."""
        return self.used >= self.limit


class UsageDatabase:
    """The open file, to be used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it, closed to others, if there is none."""
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        schema = resources.files("mailhost.usage").joinpath("schema.sql").read_text()
        self._db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _next(self, counter: str, count: int = 1) -> int:
        """Return the last of so many new numbers."""
        query = f"UPDATE state SET {counter} = {counter} + ? RETURNING {counter}"  # noqa: S608
        return int(self._db.execute(query, (count,)).fetchone()[0])

    # Who has to be asked about

    def alive_at(self) -> float:
        """Return until when all that Dovecot told is known here; 0: never."""
        return float(self._db.execute("SELECT alive_at FROM state").fetchone()[0])

    def hear(self, names: Iterable[str], until: float) -> None:
        """Note all mailboxes of which Dovecot has told the daemon `until` now."""
        with transaction(self._db):
            self._mark(names, until, urgent=True)
            self._db.execute("UPDATE state SET alive_at = ?", (until,))

    def mark(self, names: Iterable[str], now: float) -> None:
        """Note that these mailboxes have to be counted at once."""
        with transaction(self._db):
            self._mark(names, now, urgent=True)

    def _mark(self, names: Iterable[str], due: float, *, urgent: bool) -> None:
        serial = self._next("serial")
        self._db.executemany(
            "INSERT INTO mark VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET"
            " urgent = max(urgent, excluded.urgent), due = min(due, excluded.due),"
            " serial = excluded.serial",
            ((name, int(urgent), due, serial) for name in names),
        )

    def due(self, now: float, most: int) -> dict[str, int]:
        """Return whom to ask about now, and the number of each one's mark; the urgent first."""
        found: dict[str, int] = {}
        for urgent in (1, 0):
            rows = self._db.execute(
                "SELECT account, serial FROM mark WHERE urgent = ? AND due <= ?"
                " ORDER BY due LIMIT ?",
                (urgent, now, most - len(found)),
            )
            found.update(rows)
        return found

    def marked(self) -> int:
        """Return how many mailboxes have to be asked about, now or later."""
        return int(self._db.execute("SELECT count(*) FROM mark").fetchone()[0])

    def mark_oldest(self, before: float, most: int, now: float) -> int:
        """Mark those that were not counted since `before`, at most so many; return how many."""
        with transaction(self._db):
            names = [
                row[0]
                for row in self._db.execute(
                    "SELECT account FROM usage WHERE asked_at < ?"
                    " AND account NOT IN (SELECT account FROM mark) ORDER BY asked_at LIMIT ?",
                    (before, most),
                )
            ]
            if names:
                self._mark(names, now, urgent=False)
        return len(names)

    def _unmark(self, marks: Mapping[str, int]) -> None:
        """Forget these marks, unless they have come anew."""
        self._db.executemany(
            "DELETE FROM mark WHERE account = ? AND serial <= ?", list(marks.items())
        )

    def put_off(self, names: Iterable[str], until: float) -> None:
        """Let these, which could not be counted, wait."""
        with transaction(self._db):
            self._db.executemany(
                "UPDATE mark SET due = ? WHERE account = ?", [(until, name) for name in names]
            )

    # Figures

    def keep(
        self,
        boxes: Sequence[Box],
        sizes: Mapping[str, Size],
        asked_at: float,
        marks: Mapping[str, int] | None = None,
    ) -> None:
        """Keep what Dovecot answered when it was asked at `asked_at`, and forget these marks.

        A later answer that is kept already stays.
        """
        with transaction(self._db):
            held = self._held([box.mailbox_id for box in boxes])
            news = []
            for box in boxes:
                size, old = sizes[box.account], held.get(box.mailbox_id)
                if old is None or old.asked_at <= asked_at:
                    fresh = (size.used, size.messages, box.limit, asked_at)
                    news.append(Usage(box.mailbox_id, box.account, box.domain, *fresh))
            self._put(held, news)
            self._unmark(marks or {})

    def _held(self, mailbox_ids: Sequence[str]) -> dict[str, Usage]:
        found: dict[str, Usage] = {}
        for start in range(0, len(mailbox_ids), _MOST_NAMES):
            some = mailbox_ids[start : start + _MOST_NAMES]
            places = ", ".join("?" * len(some))
            query = f"SELECT {ROW} FROM usage WHERE mailbox_id IN ({places})"  # noqa: S608
            found |= {row[0]: Usage(*row) for row in self._db.execute(query, some)}
        return found

    def _put(self, held: Mapping[str, Usage], rows: Iterable[Usage]) -> None:
        """Write figures in place of those that are held.

        What has not changed but for the time is no news.
        """
        news, times = [], []
        for row in rows:
            old = held.get(row.mailbox_id)
            if old is not None and old._replace(asked_at=row.asked_at) == row:
                times.append((row.asked_at, row.mailbox_id))
            else:
                news.append(row)
        self._db.executemany("UPDATE usage SET asked_at = ? WHERE mailbox_id = ?", times)
        first = self._next("changed", len(news)) - len(news) + 1
        self._db.executemany(
            "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row, number) for number, row in enumerate(news, first)),
        )
        roomy = [row for row in news if row.mailbox_id in held and not row.full]
        self._db.executemany(
            "INSERT OR IGNORE INTO freed VALUES (?)",
            [(row.account,) for row in roomy if held[row.mailbox_id].full],
        )

    # What follows from the records

    def boxes(self) -> Iterator[Box]:
        """Yield every mailbox that has a figure, with the limit it was judged by, by their ids."""
        rows = self._db.execute(
            'SELECT mailbox_id, account, domain, "limit" FROM usage ORDER BY mailbox_id'
        )
        yield from (Box(*row) for row in rows)

    def follow(self, new: Sequence[Box], gone: Sequence[str], changed: Sequence[Box]) -> None:
        """Follow the records: mailboxes that came, went (by their ids), or have other limits."""
        with transaction(self._db):
            self._mark([box.account for box in new], time.time(), urgent=False)
            self._db.executemany(
                "DELETE FROM usage WHERE mailbox_id = ?", [(mailbox_id,) for mailbox_id in gone]
            )
            held = self._held([box.mailbox_id for box in changed])
            news = []
            for box in changed:
                if old := held.get(box.mailbox_id):
                    same = (old.used, old.messages, box.limit, old.asked_at)
                    news.append(Usage(box.mailbox_id, box.account, box.domain, *same))
            self._put(held, news)

    # Who is full no more

    def freed(self) -> list[str]:
        """Return whose copies Postfix has to try."""
        return [row[0] for row in self._db.execute("SELECT account FROM freed")]

    def forget_freed(self, names: Iterable[str]) -> None:
        """Postfix tries them."""
        with transaction(self._db):
            self._db.executemany("DELETE FROM freed WHERE account = ?", [(name,) for name in names])
