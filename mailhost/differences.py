"""Is everything as the store's records say? Compared key by key, and mended.

Streams are merged in the order of their keys, so that a server of a million
mailboxes is compared without holding it in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost import grammar
from mailhost.ftp import Ftp
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths, is_directory
from mailhost.replies import Scripts
from mailhost.store import Store
from mailhost.store.ftp import FtpUser
from mailhost.webmail.sites import Sites

Line = tuple[str, str]


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


def merge(where: str, wanted: Iterator[Line], found: Iterator[Line]) -> Iterator[Difference]:
    """Yield what differs between two streams, each in the order of its keys' bytes."""
    want, have = next(wanted, None), next(found, None)
    while want or have:
        if have is None or (want is not None and want[0] < have[0]):
            assert want is not None  # noqa: S101 (the loop goes on for one of them)
            yield Difference(where, want[0], want[1], None)
            want = next(wanted, None)
        elif want is None or have[0] < want[0]:
            yield Difference(where, have[0], None, have[1])
            have = next(found, None)
        else:
            if want[1] != have[1]:
                yield Difference(where, want[0], want[1], have[1])
            want, have = next(wanted, None), next(found, None)


def of_maps(store: Store, maps: Maps) -> Iterator[Difference]:
    """Compare each Postfix map with what it shall hold."""
    missing = maps.missing()
    for name in NAMES:
        contents = iter(()) if name in missing else maps.contents(name)
        yield from merge(f"map {name}", store.lines.all(name), contents)


def of_ftp(store: Store, ftp: Ftp) -> Iterator[Difference]:
    """Compare ProFTPD's database of accounts with what it shall hold."""
    yield from merge("ftp", map(_account, store.ftp.all()), map(_account, ftp.all()))


def _account(user: FtpUser) -> Line:
    """Return an account's name, and its line for comparison; of the hash only a digest."""
    digest = hashlib.sha256(user.password_hash.encode()).hexdigest()[:12]
    return user.name, f"{digest} {user.home}{' fixed' if user.fixed else ''}"


def of_projections(store: Store) -> Iterator[Difference]:
    """Compare mailboxes, addresses, lists and domains with the records they follow from."""
    tables = store.projections
    for kind in ("mailbox", "address", "list", "domain"):
        yield from merge(f"table {kind}", tables.recorded(kind), tables.projected(kind))
    for address, wanted, found in tables.derived():
        if wanted != found:
            yield Difference("table address", address, wanted or None, found or None)


def of_directories(store: Store, paths: Paths) -> Iterator[Difference]:
    """Find directories that belong to no mailbox, in place or in the trash."""
    for path in strays(store, paths):
        yield Difference("directory", str(path), None, "belongs to no mailbox")


def of_homes(store: Store, homes_root: Path) -> Iterator[Difference]:
    """Find domains whose home directory is missing."""
    for domain, home in store.projections.homes():
        if not is_directory(homes_root / home):
            yield Difference("home", domain, str(homes_root / home), None)


def of_webmail(store: Store, sites: Sites) -> Iterator[Difference]:
    """Compare the domains that have webmail with those for which it is ready."""
    wanted = ((domain, "served") for domain in store.webmail.all())
    yield from merge("webmail", wanted, ((domain, "served") for domain in sites.domains()))


def of_replies(store: Store, scripts: Scripts) -> Iterator[Difference]:
    """Compare the scripts of auto-replies with the records, by the mailboxes' ids."""
    wanted = ((reply.record.mailbox_id, scripts.line(reply)) for reply in store.replies.all())
    yield from merge("auto-reply", wanted, scripts.all())


def strays(store: Store, paths: Paths) -> Iterator[Path]:
    """Yield the directories under `mail` and `trash` whose id is not on record there."""
    for shard in sorted(paths.mail.iterdir()):
        for home in sorted(shard.iterdir()) if is_directory(shard) else ():
            if grammar.MAILBOX_ID.match(home.name) and store.name_of(home.name) is None:
                yield home
    for home in sorted(paths.trash.iterdir()):
        if grammar.MAILBOX_ID.match(home.name) and store.trash.details(home.name) is None:
            yield home
