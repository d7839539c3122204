"""A store with mailboxes and a file of figures, without any server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from mailhost.dovecot import Size
from mailhost.paths import Paths
from mailhost.records import Entry, HostedDomain, Mailbox, PlanLimits, Record
from mailhost.store import Store
from mailhost.usage.counting import Boxes
from mailhost.usage.database import UsageDatabase

HASH = "{SHA512-CRYPT}$6$abcdefghijklmnop$" + "x" * 86
DOMAIN = "example.com"
_numbers = count(1)


def box(name: str, quota_bytes: int = 1000, domain: str = DOMAIN) -> Mailbox:
    """Return a mailbox whose id follows from its name."""
    return Mailbox(name, domain, name.encode().hex().ljust(32, "0"), HASH, quota_bytes)


def make(root: Path) -> Paths:
    """Make the directories that are needed, and a domain of the plan `light`."""
    paths = Paths(root)
    for directory in (paths.store.parent, paths.usage, paths.mail):
        directory.mkdir()
    UsageDatabase(paths.usage_db).close()
    put(paths, PlanLimits("light"), HostedDomain(DOMAIN, f"a@{DOMAIN}", plan="light"))
    return paths


def put(paths: Paths, *records: Record) -> None:
    """Write records to the store."""
    take(paths, [Entry(record.key, next(_numbers), record) for record in records])


def delete(paths: Paths, *records: Record) -> None:
    """Delete records from the store."""
    take(paths, [Entry(record.key, next(_numbers), None) for record in records])


def take(paths: Paths, entries: list[Entry]) -> None:
    """Apply entries to the store."""
    with closing(Store(paths.store)) as store, store.transaction():
        store.take(entries, datetime.now(UTC))


@contextmanager
def database(paths: Paths) -> Iterator[UsageDatabase]:
    """Open the figures."""
    with closing(UsageDatabase(paths.usage_db)) as db:
        yield db


def keep(paths: Paths, used: dict[str, int], asked_at: float = 1.0) -> None:
    """Write figures as if Dovecot had said them."""
    sizes = {name: Size(1, size) for name, size in used.items()}
    with database(paths) as db, closing(Boxes(paths.store)) as boxes:
        db.keep(boxes.of(list(used)), sizes, asked_at)
