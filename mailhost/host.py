"""One mail server, as the panel's worker sees it: hand over records, hear what became true.

A Host is a directory. What the server shall hold is written there by one
transaction first; Postfix's maps, open sessions and directories follow from it,
and whatever a crash leaves undone is remembered in that same transaction and
done by the next call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from mailhost.records import Entry, Record


class HostError(RuntimeError):
    """Something about the mail server that its operator has to mend."""


class Busy(HostError):
    """Another process holds this server's lock: come again later."""


class Status(StrEnum):
    """What became of an entry."""

    APPLIED = "applied"  # the server itself confirmed it
    STALE = "stale"  # the server holds a newer change of this key: nothing to do
    REFUSED = "refused"  # it broke a rule and never touched the store
    UNCONFIRMED = "unconfirmed"  # written, but a backend gave another answer or none


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry; `code` is for programs, `reason` for people."""

    status: Status
    reason: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A deleted mailbox whose mail is still there. `name` is empty for a stray directory."""

    mailbox_id: str
    name: str
    address: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the store says; str() is one line for the operator."""

    where: str
    key: str
    wanted: str | None
    found: str | None

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.where}: {self.key}: wanted {self.wanted!r}, found {self.found!r}"


@dataclass(frozen=True, slots=True)
class CertificateState:
    """A domain's certificate: until when it serves, or why it does not."""

    not_after: datetime | None = None
    problem: str = ""


class Host:
    """One mail server's directory. Use one Host per process and thread."""

    def __init__(self, root: Path) -> None:
        """Name the directory; nothing is opened yet."""
        self.root = root

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the server's lock. Raises Busy at once if another process has it."""
        raise NotImplementedError
        yield

    def apply(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """Bring the server to `entries` and say for each key what became of it.

        To be called with the lock held. An empty batch finishes what a killed
        worker left undone.
        """
        raise NotImplementedError

    def records(self) -> Iterator[Entry]:
        """Yield every live record with its change number."""
        raise NotImplementedError

    def highest_change(self) -> int:
        """Return the highest change number the server has taken, 0 if none."""
        raise NotImplementedError

    def trash(self) -> list[Trashed]:
        """Return the deleted mailboxes, oldest first."""
        raise NotImplementedError

    def purge(self, mailbox_ids: Iterable[str]) -> None:
        """Remove deleted mailboxes for good and free their addresses. Needs the lock."""
        raise NotImplementedError

    def differences(self) -> list[Difference]:
        """Compare the store with maps, projections and directories."""
        raise NotImplementedError

    def repair(self) -> list[Difference]:
        """Mend what differences() finds and return it. Needs the lock."""
        raise NotImplementedError

    def install_certificates(self) -> dict[str, CertificateState]:
        """Bring certificates of hosted domains into service. Needs the lock."""
        raise NotImplementedError

    def load(self, records: Iterable[Record]) -> int:
        """Fill an empty server fast, unconfirmed, for benches. Needs the lock."""
        raise NotImplementedError
