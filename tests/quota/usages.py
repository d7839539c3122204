"""Figures of mailboxes as a mail server tells them, for accounts of the panel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from accounts.models import Account
from mailhost.dovecot import Size
from mailhost.paths import Paths
from mailhost.usage.database import Box, UsageDatabase
from mailhost.usage.waiting import Waiting
from quota import notices, usage

MB = 1024 * 1024
LIMIT = 10 * MB


class Told:
    """What the usage daemon keeps, written by its own code; what waits in the queue; and what was
    delivered into mailboxes.

    The two last stand in for Postfix and Dovecot; in test_real_usage.py the panel is told by a real
    server.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        paths = Paths(root)
        paths.usage.mkdir()
        self.db = UsageDatabase(paths.usage_db)
        self.copies: list[Waiting] = []
        self.delivered: list[tuple[str, str, bytes]] = []
        self.failure: Exception | None = None
        self.asked_for_waiting = 0
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
        box = Box(mailbox_id or account.pk.hex, account.name, account.domain.name, limit)
        self.db.keep([box], {account.name: Size(messages, int(used * MB))}, time.time())

    def wait(self, account: Account, sender: str, size: int, ago: float = 0.0) -> None:
        """Have a copy in the queue."""
        queue_id = f"Q{len(self.copies)}"
        arrived = time.time() - ago
        copy = Waiting(queue_id, account.name, account.domain.name, sender, size, arrived)
        self.copies.append(copy)

    def _waiting(self, root: Path) -> list[Waiting]:
        self.asked_for_waiting += 1
        return self.copies

    def _deliver(self, root: Path, account: str, kind: str, message: bytes) -> bool:
        if self.failure:
            raise self.failure
        self.delivered.append((account, kind, message))
        return True
