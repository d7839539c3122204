"""What becomes of archives once they are made: told, looked for, removed; and killed runs' ends."""

from __future__ import annotations

import os

from mailhost.archive import files
from mailhost.archive.errors import ArchiveError
from mailhost.archive.putting import Putting
from mailhost.archive.records import Archive
from mailhost.archive.server import Server
from mailhost.archive.taking import Taking

#: Archives told at once.
MOST_NEWS = 1000
# Of a mailbox: runs that are not at their end.
_UNFINISHED = (
    "SELECT mailbox_id FROM run"
    " UNION SELECT mailbox_id FROM put_back WHERE state <> 'put' ORDER BY mailbox_id"
)


def finish(server: Server) -> list[Archive | ArchiveError]:
    """Finish every mailbox's killed runs; see mailhost.archive.finish."""
    found: list[Archive | ArchiveError] = []
    for row in server.db.rows(_UNFINISHED):
        try:
            with server.db.lock(row["mailbox_id"]):
                archive = finish_mailbox(server, row["mailbox_id"])
        except ArchiveError as error:
            if error.code != "busy":
                found.append(error)
        else:
            found += [archive] if archive else []
    return found


def finish_mailbox(server: Server, mailbox_id: str) -> Archive | None:
    """Finish a mailbox's killed runs, with its lock held; return the archive of a finished one."""
    Putting(server).finish(mailbox_id)
    return Taking(server).finish(mailbox_id)


def news(server: Server, cursor: str) -> tuple[list[Archive], str]:
    """Return what changed since the cursor, in its order; see mailhost.archive.news."""
    since = int(cursor) if cursor.isdecimal() and cursor.isascii() else 0
    newest = server.db.next_change() - 1
    if since > newest:
        since = 0  # The record is an older one than was read: a backup was brought back.
    rows = server.db.rows(
        "SELECT id, changed FROM archive WHERE changed > ? ORDER BY changed LIMIT ?",
        since,
        MOST_NEWS,
    )
    if not rows:
        return [], str(since)
    found = server.db.archives(
        "changed > ? AND changed <= ? ORDER BY changed", since, rows[-1]["changed"]
    )
    return found, str(rows[-1]["changed"])


def verify(server: Server) -> int:
    """Look for every archive that was not removed; see mailhost.archive.verify."""
    gone = 0
    for archive in server.db.archives("state <> 'removed' ORDER BY id"):
        try:
            there = _is_there(server, archive)
        except ArchiveError as error:
            if error.code not in ("home_missing", "home_unsafe"):
                raise
            there = False
        if server.db.mark(archive.id, "kept" if there else "gone") and not there:
            gone += 1
    return gone


def _is_there(server: Server, archive: Archive) -> bool:
    """Say whether the archive is in its home; one that had gone has to be the same to the byte."""
    _, home_name = server.db.archive(archive.id)
    with files.home_of(server.homes_root, home_name) as home:
        descriptor = files.opened(home, archive.file_name)
        if descriptor is None:
            return False
        try:
            found = os.fstat(descriptor)
            if found.st_size != archive.file_bytes or found.st_nlink != 1:
                return False
            return archive.state == "kept" or files.sum_of(descriptor).sha256 == archive.sha256
        finally:
            os.close(descriptor)


def remove(server: Server, archive_id: int) -> None:
    """Delete an archive from its home; see mailhost.archive.remove."""
    archive, home_name = server.db.archive(archive_id)
    if archive.state == "removed":
        return
    with server.db.lock(archive.mailbox_id):
        # Or a run that was killed after the archive was on record would lose what it holds.
        finish_mailbox(server, archive.mailbox_id)
        try:
            with files.home_of(server.homes_root, home_name) as home:
                _delete(home, archive)
        except ArchiveError as error:
            if error.code not in ("home_missing", "home_unsafe"):
                raise
        server.db.mark(archive_id, "removed")


def _delete(home: int, archive: Archive) -> None:
    """Delete the archive's file; what stands in its place meanwhile, if it is no file, stays."""
    descriptor = files.opened(home, archive.file_name)
    if descriptor is None:
        return
    try:
        files.discard(home, archive.file_name, descriptor)
        os.fsync(home)
    finally:
        os.close(descriptor)
