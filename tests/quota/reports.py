"""A policy daemon's database as the daemon's own code writes it, for accounts of the panel."""

from __future__ import annotations

import time
from pathlib import Path

from mailhost.policy.directory import AccountView
from mailhost.policy.ledger import Clock, Ledger
from tests.mailhost.policy.logins import ALICE, Logins

HERE, OFFICE, ELSEWHERE = "127.0.0.1", "203.0.113.7", "198.51.100.9"


class Daemon(Logins):
    """What it keeps of logins and of mail, at the present time; accounts are alice and bob."""

    def __init__(self, root: Path) -> None:
        """Make a server in `root`."""
        super().__init__(root)
        self.now = time.time()
        self.config.save(root)

    def start(self) -> None:
        """Begin as a new process does."""
        super().start()
        self.ledger = Ledger(self.db, Clock(self.config.time_zone), self.now)
        self._messages = 0

    def view(self, account: str) -> AccountView:
        """Return an account as the rules see it."""
        self.directory.refresh()
        found = self.directory.account(account)
        assert found is not None
        return found

    def send(self, account: str, recipients: int, address: str = OFFICE, way: str = "auth") -> None:
        """Accept a message."""
        self._messages += 1
        instance = f"{self._messages}.1"
        message = self.ledger.begin(instance, self.view(account), address, way, self.now)
        for n in range(recipients):
            self.ledger.reserve(message, f"r{n}@example.org")
        self.ledger.count(message, self.now)
        self.ledger.settle()

    def refuse(
        self,
        account: str,
        reason: str,
        limit: int = 0,
        reached: int = 0,
        to: str = "x@y.example",
        sender: str = ALICE.address,
    ) -> None:
        """Refuse a message, a second after whatever was before."""
        self.now += 1
        self.ledger.refuse(account, reason, limit, reached, sender, to, self.now)
