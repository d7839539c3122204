"""From the mailbox into an archive, so that a message is never lost and never in both for good.

The order is everything:

1. the run is on record ("writing"), then its temporary file is made in the home;
2. each message's file is written into it; the file is counted, hashed and synced;
3. the messages, counts and hash are on record ("written");
4. the file gets its name, and the home is synced;
5. the archive is on record ("kept");
6. Dovecot expunges exactly these messages; the run is forgotten.

A run killed in 1 or 2 has changed nothing: its file is deleted. From 3 on it is finished.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NoReturn

from isal import igzip_threaded

from mailhost import homes
from mailhost.archive import files, mbox
from mailhost.archive.errors import ArchiveError
from mailhost.archive.mailbox import (
    Folder,
    FolderFiles,
    Mailbox,
    Message,
    by_folder,
    mail_errors,
    virtual_size,
)
from mailhost.archive.records import Archive
from mailhost.archive.server import Account, Server

#: igzip's level: 3 is its best, and still several times as fast as gzip.
LEVEL = 3
THREADS = 2

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Written:
    """The messages that are in a run's file, and their bytes."""

    messages: list[Message]
    mail_bytes: int = 0


class Taking:
    """The runs of one mailbox, whose lock is held. `at` is called between steps, for tests."""

    def __init__(self, server: Server, at: Callable[[str], None] = lambda _instant: None) -> None:
        """Take the server."""
        self._server = server
        self._db = server.db
        self._at = at

    def take(
        self, account: Account, *, oldest: bool, require_full: bool, progress: Progress
    ) -> Archive:
        """Make an archive of the account's mail and take the mail out of the mailbox."""
        with self._server.mailbox(account.name, account.mailbox_id) as mailbox:
            folders = mailbox.folders()
            used = sum(folder.vsize for folder in folders)
            if require_full and used < account.limit:
                text = f"{account.name} is not full: {used} of {account.limit} bytes."
                raise ArchiveError("nothing_to_take", text)
            messages = mailbox.messages(folders)
            if oldest:
                half = account.limit - account.limit // 2
                with mail_errors(account.name):
                    messages = _oldest(mailbox, messages, used - (account.limit - half))
            if not messages:
                raise ArchiveError("nothing_to_take", f"{account.name} holds no mail to take.")
            run = self._begin(account)
            with closing(self._write(run, mailbox, messages, progress)) as draft:
                return self._end(run, draft.descriptor)[0]

    def finish(self, mailbox_id: str) -> Archive | None:
        """Finish the mailbox's run that was killed; return its archive once its mail is out.

        None where there is no such run, where it came to nothing, or while the mailbox lies in
        the trash: it stays on record then.
        """
        rows = self._db.rows("SELECT id, state FROM run WHERE mailbox_id = ?", mailbox_id)
        if not rows:
            return None
        run: int = rows[0]["id"]
        if rows[0]["state"] == "writing":
            self._drop(run)
            return None
        archive, done = self._end(run)
        return archive if done else None

    # Writing

    def _begin(self, account: Account) -> int:
        now = time.time()
        zone = zoneinfo.ZoneInfo(self._server.config.time_zone)
        return int(
            self._db.execute(
                "INSERT INTO run"
                " (mailbox_id, account, domain, home, temporary, taken_at, day, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'writing')",
                account.mailbox_id,
                account.name,
                account.domain,
                account.home,
                files.temporary_name(account.name),
                now,
                f"{datetime.fromtimestamp(now, zone):%Y%m%d}",
            ).lastrowid
            or 0
        )

    def _write(
        self, run: int, mailbox: Mailbox, messages: Sequence[Message], progress: Progress
    ) -> files.Draft:
        """Write the run's file and bring it to the disk; on any error nothing of it is left."""
        row = self._row(run)
        with ExitStack() as undo:
            undo.push(lambda kind, *_: self._abandon(run) if kind else None)
            with files.home_of(self._server.homes_root, row["home"]) as home:
                self._at("begun")
                draft = undo.enter_context(closing(files.Draft(home, row["temporary"])))
                self._at("made")
                written = self._write_messages(draft, mailbox, messages, progress)
                self._at("compressed")
                total = draft.finish()
            self._note(run, written, total)
            undo.pop_all()
        return draft

    def _abandon(self, run: int) -> None:
        # What cannot be deleted now stays on record, for `finish`.
        with suppress(ArchiveError):
            self._drop(run)

    def _write_messages(
        self, draft: files.Draft, mailbox: Mailbox, messages: Sequence[Message], progress: Progress
    ) -> Written:
        written = Written([])
        done = 0
        out = igzip_threaded.open(  # type: ignore[no-untyped-call]
            draft, "wb", compresslevel=LEVEL, threads=THREADS
        )
        with out:
            for folder, inside in by_folder(messages).items():
                found = mailbox.files(folder)
                for message in inside:
                    self._write_message(out, found, message, written)
                    done += 1
                    progress(done, len(messages))
                    self._at("message")
        if not written.messages:
            raise ArchiveError("nothing_to_take", f"{mailbox.account} holds no mail any more.")
        return written

    def _write_message(
        self, out: mbox.Sink, found: FolderFiles, message: Message, written: Written
    ) -> None:
        stored = found.stored(message.name)
        if stored is None:
            return  # Deleted meanwhile, by its owner.
        with stored:
            head = mbox.write(
                out,
                stored.content,
                folder=message.folder.name,
                flags=message.flags,
                received=stored.received,
            )
        written.messages.append(message)
        written.mail_bytes += head.size

    def _note(self, run: int, written: Written, total: files.Sum) -> None:
        """Put on record what is in the file that is now on the disk."""
        with self._db.transaction():
            self._db.many(
                "INSERT INTO taken (run, guid, folder, uidvalidity, uid, name)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (run, m.folder.guid, m.folder.name, m.folder.uidvalidity, m.uid, m.name)
                    for m in written.messages
                ),
            )
            self._db.execute(
                "UPDATE run SET state = 'written', messages = ?, mail_bytes = ?, file_bytes = ?,"
                " sha256 = ? WHERE id = ? AND state = 'writing'",
                len(written.messages),
                written.mail_bytes,
                total.size,
                total.sha256,
                run,
            )

    # Keeping

    def _end(self, run: int, descriptor: int | None = None) -> tuple[Archive, bool]:
        """Bring a run that is "written" or "kept" to its end; `descriptor` is its file's, if open.

        Returns its archive, and whether all its mail is out of the mailbox.
        """
        row = self._row(run)
        with files.home_of(self._server.homes_root, row["home"]) as home, ExitStack() as opened:
            if descriptor is None:
                descriptor = self._found(row, home)
                opened.callback(os.close, descriptor)
            if row["state"] == "written":
                self._publish(row, home, descriptor)
                self._keep(row)
                row = self._row(run)
            if not files.is_there(home, row["file_name"], descriptor):
                self._lost(row)
        self._at("kept")
        done = self._expunge(row)
        return self._db.archive(row["archive"])[0], done

    def _found(self, row: sqlite3.Row, home: int) -> int:
        """Open the file that a killed run has left, by its name or its temporary one."""
        wanted = files.Sum(row["file_bytes"], row["sha256"])
        for name in (row["file_name"], row["temporary"]):
            if name and (descriptor := files.find(home, name, wanted)) is not None:
                return descriptor
        return self._lost(row)

    def _publish(self, row: sqlite3.Row, home: int, descriptor: int) -> None:
        """Give the file its name, unless it has got it already."""

        def say(name: str) -> None:
            self._db.execute("UPDATE run SET file_name = ? WHERE id = ?", name, row["id"])
            self._at("named")

        name = row["file_name"]
        if not name or not files.is_there(home, name, descriptor):
            try:
                name = files.publish(home, descriptor, self._server.config, self._names(row), say)
            except FileNotFoundError:
                if os.fstat(descriptor).st_nlink:
                    raise
                self._lost(row)
        self._at("linked")
        try:
            files.settle(home, row["temporary"], descriptor)
        except ArchiveError:
            files.discard(home, name, descriptor)
            self._forget(row["id"])
            raise
        self._at("published")

    def _keep(self, row: sqlite3.Row) -> None:
        """Put the archive on record."""
        with self._db.transaction():
            archive = self._db.execute(
                "INSERT INTO archive (mailbox_id, account, domain, home, file_name, taken_at,"
                " messages, mail_bytes, file_bytes, sha256, state, changed)"
                " SELECT mailbox_id, account, domain, home, file_name, taken_at,"
                " messages, mail_bytes, file_bytes, sha256, 'kept', ? FROM run WHERE id = ?",
                self._db.next_change(),
                row["id"],
            ).lastrowid
            self._db.execute(
                "UPDATE run SET state = 'kept', archive = ? WHERE id = ? AND state = 'written'",
                archive,
                row["id"],
            )

    def _lost(self, row: sqlite3.Row) -> NoReturn:
        """Give the run up, its file being gone: the mail stays in the mailbox."""
        if row["archive"] is not None:
            self._db.mark(row["archive"], "gone")
        self._forget(row["id"])
        text = f"The archive of {row['account']} has been deleted before it was done with."
        raise ArchiveError("archive_changed", text)

    def _drop(self, run: int) -> None:
        """Delete what a run has begun to write, and forget it."""
        row = self._row(run)
        try:
            with files.home_of(self._server.homes_root, row["home"]) as home:
                files.discard(home, row["temporary"])
        except ArchiveError as error:
            if error.code not in ("home_missing", "home_unsafe"):
                raise
        self._forget(run)

    # Taking out of the mailbox

    def _expunge(self, row: sqlite3.Row) -> bool:
        """Expunge what is in the archive; return whether all of it is out of the mailbox."""
        name, state = self._server.state_of(row["mailbox_id"])
        if state not in ("open", ""):
            return False  # In the trash, or on its way there or back.
        if state:
            with self._server.mailbox(name, row["mailbox_id"]) as mailbox:
                now = mailbox.folders()
                for folder, uids, names in self._taken(row["id"]):
                    _expunge(mailbox, now, folder, uids, names)
                    self._at("expunged")
        self._forget(row["id"])
        if state:
            self._server.recount(name, flush=True)
        return True

    def _names(self, row: sqlite3.Row) -> Iterator[str]:
        """Yield the names that the archive may get, in their order."""
        query = "SELECT 1 FROM archive WHERE home = ? AND file_name = ?"
        for number in range(1, files.MOST_A_DAY + 1):
            name = homes.archive_name(row["account"], row["day"], number)
            if not self._db.rows(query, row["home"], name):
                yield name

    def _taken(self, run: int) -> Iterator[tuple[Folder, list[int], set[str]]]:
        """Yield the run's messages folder by folder: their numbers and their files' names."""
        rows = self._db.rows("SELECT * FROM taken WHERE run = ? ORDER BY guid, uidvalidity", run)
        for key, inside in groupby(
            rows, lambda row: (row["folder"], row["guid"], row["uidvalidity"])
        ):
            group = list(inside)
            yield Folder(*key, 0), [row["uid"] for row in group], {row["name"] for row in group}

    def _forget(self, run: int) -> None:
        self._db.execute("DELETE FROM run WHERE id = ?", run)

    def _row(self, run: int) -> sqlite3.Row:
        return self._db.rows("SELECT * FROM run WHERE id = ?", run)[0]


def _expunge(
    mailbox: Mailbox, now: Sequence[Folder], folder: Folder, uids: list[int], names: set[str]
) -> None:
    """Expunge messages of one folder, which `now` may know under other numbers."""
    for other in now:
        if (other.guid, other.uidvalidity) == (folder.guid, folder.uidvalidity):
            mailbox.expunge(other, uids)
            return
    # Dovecot's list was made anew: what counts is which files were read.
    for other in now:
        if other.guid == folder.guid or other.name == folder.name:
            same = [message.uid for message in mailbox.messages([other]) if message.name in names]
            mailbox.expunge(other, same)


def _oldest(mailbox: Mailbox, messages: Sequence[Message], excess: int) -> list[Message]:
    """Return the messages received first, until they hold `excess` bytes, in the order given."""
    aged: list[tuple[float, int, int]] = []
    for folder, inside in by_folder(messages).items():
        found = mailbox.files(folder)
        for message in inside:
            if details := found.details(message.name):
                size = virtual_size(message.name, details)
                aged.append((details.st_mtime, len(aged), size))
            else:
                aged.append((0.0, len(aged), 0))
    chosen = set()
    for _, position, size in sorted(aged):
        if excess <= 0:
            break
        chosen.add(position)
        excess -= size
    return [message for position, message in enumerate(messages) if position in chosen]
