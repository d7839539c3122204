"""Figures of mailboxes as a mail server tells them, for accounts of the panel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from accounts.models import Account
from mailhost.usage import figures
from mailhost.usage.figures import News, Usage
from mailhost.usage.waiting import Waiting
from quota import notices, usage

MB = 1024 * 1024
LIMIT = 10 * MB


class Told:
    """What the usage daemon keeps, what waits in the queue, and what was delivered into mailboxes.

    Stands in for the server's side of mailhost.usage, which has its own tests; in
    tests/mail/test_usage.py the panel is told by a real server.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.rows: dict[str, tuple[int, Usage]] = {}
        self.copies: list[Waiting] = []
        self.delivered: list[tuple[str, str, bytes]] = []
        self.recounted: list[list[str] | None] = []
        self.failure: Exception | None = None
        self.asked_for_waiting = 0
        patch.setattr(figures, "read", self._read)
        patch.setattr(figures, "recount", self._recount)
        patch.setattr(usage, "waiting", self._waiting)
        patch.setattr(notices, "deliver", self._deliver)

    def hold(
        self,
        account: Account,
        used: float,
        *,
        limit: int = LIMIT,
        messages: int = 3,
        mailbox_id: str = "",
    ) -> None:
        """Have Dovecot counted `used` MB."""
        key = mailbox_id or account.pk.hex
        row = Usage(
            key,
            account.name,
            account.domain.name,
            int(used * MB),
            messages,
            limit,
            time.time(),
        )
        self.rows[key] = (self._next(), row)

    def wait(self, account: Account, sender: str, size: int, ago: float = 0.0) -> None:
        """Have a copy in the queue."""
        queue_id = f"Q{len(self.copies)}"
        arrived = time.time() - ago
        copy = Waiting(queue_id, account.name, account.domain.name, sender, size, arrived)
        self.copies.append(copy)

    def _next(self) -> int:
        return max((number for number, _ in self.rows.values()), default=0) + 1

    def _read(self, root: Path, cursor: str = "") -> News:
        if self.failure:
            raise self.failure
        since = int(cursor or 0)
        news = sorted(one for one in self.rows.values() if one[0] > since)[: figures.MOST_ROWS]
        upto = str(news[-1][0]) if news else cursor
        return News([row for _, row in news], upto, len(news) == figures.MOST_ROWS)

    def _recount(self, root: Path, names: list[str] | None = None) -> int:
        self.recounted.append(names)
        return len(self.rows) if names is None else len(names)

    def _waiting(self, root: Path) -> list[Waiting]:
        self.asked_for_waiting += 1
        return self.copies

    def _deliver(self, root: Path, account: str, kind: str, message: bytes) -> bool:
        if self.failure:
            raise self.failure
        self.delivered.append((account, kind, message))
        return True
