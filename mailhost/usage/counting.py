"""Having mailboxes counted: whose they are, what Dovecot says, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mailhost.dovecot import Doveadm, Size
from mailhost.paths import Paths, is_directory
from mailhost.store import limits
from mailhost.store.reader import Reader
from mailhost.usage.database import Box, UsageDatabase

#: Mailboxes that Dovecot counts in one go.
BATCH = 500


class Boxes(Reader):
    """The mailboxes on record, and what each may hold."""

    def __init__(self, store: Path) -> None:
        """Open the store."""
        super().__init__(store)
        self._version = -1

    def have_changed(self) -> bool:
        """Say whether any record has changed since this was asked last."""
        version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        before, self._version = self._version, version
        return version != before

    def of(self, names: Sequence[str]) -> list[Box]:
        """Return the mailboxes with these names."""
        places = ", ".join("?" * len(names))
        query = (
            f"SELECT m.mailbox_id, m.name, m.domain, {limits.LIMIT} FROM mailbox AS m"  # noqa: S608
            f" WHERE m.state <> 'closing' AND m.name IN ({places})"
        )
        return [Box(*row) for row in self._db.execute(query, names)]

    def all(self) -> Iterator[Box]:
        """Yield every mailbox, by their ids."""
        yield from (Box(*row) for row in self._db.execute(limits.ALL))

    def at(self, address: str) -> Box | None:
        """Return the mailbox with this address of its own."""
        query = (
            f"SELECT m.mailbox_id, m.name, m.domain, {limits.LIMIT} FROM mailbox AS m"  # noqa: S608
            " WHERE m.address = ? AND m.state <> 'closing'"
        )
        row = self._db.execute(query, (address,)).fetchone()
        return Box(*row) if row else None


class Counter:
    """Asks Dovecot about mailboxes and keeps the answers."""

    def __init__(self, paths: Paths, db: UsageDatabase, boxes: Boxes) -> None:
        """Take whom it asks and where it keeps."""
        self._paths = paths
        self._db = db
        self._boxes = boxes
        self._doveadm = Doveadm(paths)

    def count(
        self, names: Sequence[str], marks: Mapping[str, int] | None = None
    ) -> tuple[int, list[str]]:
        """Have these mailboxes counted, at most BATCH; return how many, and who could not be.

        `marks` of all but the latter are forgotten. A name that is no mailbox is passed over.
        Raises NoAnswer, and keeps nothing, if Dovecot is out of order.
        """
        marks = marks or {}
        boxes, asked_at = self._boxes.of(names), time.time()
        sizes = self._sizes(boxes)
        counted = [box for box in boxes if box.account in sizes]
        failed = [box.account for box in boxes if box.account not in sizes]
        done = {name: serial for name, serial in marks.items() if name not in failed}
        self._db.keep(counted, sizes, asked_at, done)
        return len(counted), failed

    def _sizes(self, boxes: Sequence[Box]) -> dict[str, Size]:
        # Dovecot would make the directory of a mailbox that never had mail.
        there = [box for box in boxes if is_directory(self._paths.home(box.mailbox_id))]
        sizes = {box.account: Size(0, 0) for box in boxes}
        for box in there:
            del sizes[box.account]
        return sizes | (self._doveadm.usage([box.account for box in there]) if there else {})
