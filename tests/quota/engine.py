"""What a mail server's archiving answers, where a test is about what the panel makes of it.

How mail gets into archives and back is proved with real servers, in tests/mail and in
test_real_archiving.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Account
from mailhost import archive
from mailhost.archive import ArchiveError, PutBack
from mailhost.usage import figures
from mailhost.usage.figures import Usage

MB = 1024 * 1024


@dataclass
class Engine:
    """The answers by account name; `asked` is what it was asked to do, in order."""

    root: Path
    full: list[Usage] = field(default_factory=list)
    kept: list[archive.Archive] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    left: list[archive.Archive] = field(default_factory=list)
    putting: PutBack = field(default_factory=PutBack)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    changes: list[archive.Archive] = field(default_factory=list)

    def fill(self, *accounts: Account, used: int = 11 * MB) -> None:
        """Let mailboxes be full."""
        for account in accounts:
            name, domain = account.name, account.domain.name
            usage = Usage(account.pk.hex, name, domain, used, 42, 10 * MB, time.time())
            self.full.append(usage)

    def make(self, account: Account, **fields: Any) -> archive.Archive:
        """Put an archive on the server's record, as the operator's command would."""
        return self._keep(account.pk.hex, account.name, account.domain.name, **fields)

    def _keep(self, mailbox_id: str, name: str, domain: str, **fields: Any) -> archive.Archive:
        number = len(self.kept) + 1
        usual: dict[str, Any] = {
            "file_name": f"{name}.oldmail.20261202.gz",
            "taken_at": time.time(),
            "messages": 42,
            "mail_bytes": 11 * MB,
            "file_bytes": 3 * MB,
            "sha256": f"{number:064x}",
            "state": "kept",
        }
        values = usual | fields
        made = archive.Archive(number, mailbox_id, name, domain, **values)
        self.kept.append(made)
        self.changes.append(made)
        return made

    def mark(self, number: int, state: str) -> None:
        """Let an archive's file be gone, or removed."""
        changed = replace(self.kept[number - 1], state=state)
        self.kept[number - 1] = changed
        self.changes.append(changed)

    # What mailhost's functions do

    def take(
        self, _root: Path, account: str, *, oldest: bool = False, require_full: bool = True
    ) -> archive.Archive:
        self.asked.append(("take", account, oldest, require_full))
        self._fail(account)
        usage = next((one for one in self.full if one.account == account), None)
        if usage is None and require_full:
            raise ArchiveError("nothing_to_take", "not full")
        if usage is None:
            raise ArchiveError("no_account", "no such account")
        self.full.remove(usage)
        return self._keep(usage.mailbox_id, account, usage.domain)

    def finish(self, _root: Path) -> list[archive.Archive | ArchiveError]:
        found, self.left = self.left, []
        return [*found]

    def news(self, _root: Path, cursor: str) -> tuple[list[archive.Archive], str]:
        # Each archive once, as it is now, like the server's record.
        news = {one.id: one for one in self.changes[int(cursor or 0) :]}
        return [*news.values()], str(len(self.changes))

    def verify(self, _root: Path) -> int:
        self.asked.append(("verify",))
        return 0

    def put_back(self, _root: Path, number: int, numbers: Sequence[int] | None = None) -> PutBack:
        self.asked.append(("put_back", number, numbers))
        self._fail(self.kept[number - 1].account)
        return self.putting

    def remove(self, _root: Path, number: int) -> None:
        self.asked.append(("remove", number))
        self.mark(number, "removed")

    def find_full(self, _root: Path) -> list[Usage]:
        self._fail("")
        return list(self.full)

    def _fail(self, account: str) -> None:
        if code := self.failing.get(account):
            raise ArchiveError(code, f"It is {code}.")

    def answer(self, patch: pytest.MonkeyPatch) -> None:
        """Answer in mailhost's place."""
        for name in ("take", "finish", "news", "verify", "put_back", "remove"):
            patch.setattr(archive, name, _named(getattr(self, name), name))
        patch.setattr(figures, "full", self.find_full)


def _named(method: Any, name: str) -> Any:
    def call(*args: Any, **options: Any) -> Any:
        return method(*args, **options)

    call.__name__ = name
    return call
