"""Archives: a full mailbox's mail as one gzip of one mbox in the home of its domain, and back.

A message is in the mailbox until it is in an archive that is safely on the disk and on record;
only then is it expunged. What is killed in between `finish` finishes (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from mailhost.archive import keeping, reading
from mailhost.archive import server as servers
from mailhost.archive.errors import CODES, ArchiveError
from mailhost.archive.putting import Putting
from mailhost.archive.records import Archive, PutBack
from mailhost.archive.taking import Taking

__all__ = [
    "CODES",
    "Archive",
    "ArchiveError",
    "PutBack",
    "archives",
    "finish",
    "news",
    "open_file",
    "put_back",
    "remove",
    "take",
    "verify",
]


def take(
    root: Path,
    account: str,
    *,
    oldest: bool = False,
    require_full: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Archive:
    """Move an account's mail into a new archive in its domain's home; return the archive.

    All its mail, in all folders; with `oldest` the oldest alone, until half of the limit is
    free. ArchiveError "nothing_to_take" if there is none or, with `require_full`, unless the
    mailbox is at or above its limit. `progress` is called with the messages written so far and
    all of them. An earlier run for this account that was killed is finished first.
    """
    with servers.opened(root) as server:
        found = server.account(account)
        with server.db.lock(found.mailbox_id):
            try:
                keeping.finish_mailbox(server, found.mailbox_id)
            except ArchiveError as error:
                # The earlier archive is gone, and has left all that is here now.
                if error.code != "archive_changed":
                    raise
            return Taking(server).take(
                found,
                oldest=oldest,
                require_full=require_full,
                progress=progress or (lambda _done, _total: None),
            )


def finish(root: Path) -> list[Archive | ArchiveError]:
    """Finish what killed runs left undone, for all accounts; harmless at any time.

    Returns each archive whose mail is now out of the mailbox, and why another could not be
    finished; what another process is at work on is passed over.
    """
    with servers.opened(root) as server:
        return keeping.finish(server)


def news(root: Path, cursor: str) -> tuple[list[Archive], str]:
    """Return archives added or changed since the cursor, and the next; "" is the beginning.

    At most 1,000 at a time: ask again until none comes.
    """
    with servers.opened(root) as server:
        return keeping.news(server, cursor)


def archives(root: Path, account: str | None = None) -> list[Archive]:
    """Return the archives on record, of one account's name or of all, the oldest first."""
    with servers.opened(root) as server:
        if account is None:
            return server.db.archives("1 ORDER BY id")
        return server.db.archives("account = ? ORDER BY id", account)


def open_file(root: Path, archive_id: int) -> BinaryIO:
    """Open an archive for `reading`, by its number; ArchiveError as reading.open_archive's."""
    with servers.opened(root) as server:
        archive, home = server.db.archive(archive_id)
        return reading.open_archive(server.homes_root, home, archive.file_name)


def verify(root: Path) -> int:
    """Look which archives are in their homes; return how many were marked as gone.

    One that had gone and was brought back, byte for byte, is kept again.
    """
    with servers.opened(root) as server:
        return keeping.verify(server)


def put_back(root: Path, archive_id: int, numbers: Sequence[int] | None = None) -> PutBack:
    """Put an archive's messages back into the mailbox they were taken from; keep the archive.

    `numbers` are positions in the archive, from 1; None: all. Each comes back into its folder
    with flags and date, byte for byte. A message that the mailbox holds already is not doubled;
    the mailbox never gets above its limit. May be done again at any time.
    """
    with servers.opened(root) as server:
        archive, home = server.db.archive(archive_id)
        with server.db.lock(archive.mailbox_id):
            keeping.finish_mailbox(server, archive.mailbox_id)
            chosen = None if numbers is None else set(numbers)
            return Putting(server).put_back(archive, home, chosen)


def remove(root: Path, archive_id: int) -> None:
    """Delete an archive from the home, for good. Harmless if it is gone already.

    ArchiveError "no_archive" for a number that no archive has.
    """
    with servers.opened(root) as server:
        keeping.remove(server, archive_id)
