"""Copies of mail that wait in Postfix's queue because a mailbox here is full.

Dovecot refuses such a copy for the time being (`quota_full_tempfail`), and Postfix tries it
again for eight days, so that a Wednesday falls within.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailhost.errors import HostError


class WaitingError(HostError):
    """Postfix's queue cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A copy that waits; `sender` is the envelope's, "" for notices of other mail servers.

    `size` is in bytes, `arrived` in UNIX seconds.
    """

    queue_id: str
    account: str
    domain: str
    sender: str
    size: int
    arrived: float


def waiting(root: Path) -> list[Waiting]:
    """Return the copies that wait for a full mailbox of this server, the oldest first.

    Raises WaitingError; without a running Postfix the queue is read all the same.
    """
    raise NotImplementedError


def flush(root: Path, names: Iterable[str]) -> int:
    """Have Postfix try the copies that wait for these mailboxes at once; return how many."""
    raise NotImplementedError
