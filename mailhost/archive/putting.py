"""From an archive back into the mailbox, byte for byte, and no message twice.

Messages go in as files, as a delivery to a Maildir does: written in `tmp`, synced, and linked to
their name in `cur`, which says size, flags and, by its time, when they were received. Saving by
IMAP's or Dovecot's own commands would change some bytes. Keywords follow by Dovecot, which keeps
them in a list of its own.

Each message's file name is on record before the file gets it ("placing"), so that a killed run's
files are found again: they are in the mailbox, or nowhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from mmap import PROT_READ, mmap
from tempfile import TemporaryFile
from typing import BinaryIO

from mailhost.archive import files, mbox
from mailhost.archive.errors import ArchiveError
from mailhost.archive.mailbox import OPEN_FOLDERS, Folder, FolderFiles, Mailbox
from mailhost.archive.records import Archive, PutBack
from mailhost.archive.scanning import Scanner
from mailhost.archive.server import Server

#: Messages, and bytes, that are on record at once before they are placed, and their folders.
PORTION, PORTION_BYTES, PORTION_FOLDERS = 200, 16 << 20, OPEN_FOLDERS // 2
#: A message that takes more bytes in the archive is not held in memory.
_HELD = 16 << 20
# As a Maildir's file names have them, in this order.
_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}


@dataclass(frozen=True, slots=True)
class Placing:
    """A message on its way into a folder; `name` is its file's, up to the size."""

    number: int
    head: mbox.Head
    name: str

    @property
    def keywords(self) -> str:
        """The flags that are no part of the file's name."""
        return " ".join(flag for flag in self.head.flags if flag not in _LETTERS)

    @property
    def letters(self) -> str:
        """The flags that are."""
        return "".join(letter for flag, letter in _LETTERS.items() if flag in self.head.flags)


class Putting:
    """What goes back into one mailbox, whose lock is held. `at` is called between steps."""

    def __init__(self, server: Server, at: Callable[[str], None] = lambda _instant: None) -> None:
        """Take the server. `at` is for tests."""
        self._server = server
        self._db = server.db
        self._at = at

    def put_back(self, archive: Archive, home_name: str, numbers: set[int] | None) -> PutBack:
        """Put messages back; see mailhost.archive.put_back."""
        account, state = self._server.state_of(archive.mailbox_id)
        if state != "open":
            raise ArchiveError("no_account", f"The account {archive.account} is not in service.")
        with files.home_of(self._server.homes_root, home_name) as home:
            file = _checked(home, archive)
        limit = self._server.account(account).limit
        with (
            closing(file),
            self._server.mailbox(account, archive.mailbox_id) as mailbox,
            _errors(archive),
        ):
            heads = _heads(file, archive, numbers)
            wanted = self._missing(archive, mailbox, heads)
            told = PutBack(already=len(heads) - len(wanted), left=len(wanted))
            portions = _Portions(_scanner(file, archive), [(n, heads[n]) for n in sorted(wanted)])
            try:
                for portion in portions:
                    self._place(archive, mailbox, portions, portion, limit, told)
            except BaseException:
                with suppress(ArchiveError, OSError):
                    self._look_for_placed(mailbox)
                raise
            self._give_keywords(mailbox)
        if told.put:
            self._server.recount(account)
        return told

    def finish(self, mailbox_id: str) -> None:
        """Finish what a killed run was putting into a mailbox, unless that is in the trash."""
        if not self._unfinished(mailbox_id, "placing", "placed"):
            return
        account, state = self._server.state_of(mailbox_id)
        if state == "":
            self._db.execute("DELETE FROM put_back WHERE mailbox_id = ?", mailbox_id)
        if state != "open":
            return
        with self._server.mailbox(account, mailbox_id) as mailbox:
            self._look_for_placed(mailbox)
            self._give_keywords(mailbox)
        self._server.recount(account)

    # Which are to go

    def _missing(
        self, archive: Archive, mailbox: Mailbox, heads: Mapping[int, mbox.Head]
    ) -> set[int]:
        """Return the numbers of those messages that the mailbox does not hold."""
        rows = self._db.rows("SELECT number, digest FROM put_back WHERE archive = ?", archive.id)
        there = Counter(_digests(mailbox, {head.size for head in heads.values()}))
        return missing(
            {number: head.digest for number, head in heads.items()},
            {row["number"]: row["digest"] for row in rows},
            there,
        )

    # Placing

    def _place(
        self,
        archive: Archive,
        mailbox: Mailbox,
        portions: _Portions,
        portion: list[Placing],
        limit: int,
        told: PutBack,
    ) -> None:
        """Place a portion's messages as far as there is room for them."""
        folders = _folders(mailbox, {placing.head.folder for placing in portion})
        self._record(archive, portion)
        self._at("recorded")
        room = limit - mailbox.used()
        ready: list[tuple[Placing, FolderFiles, str]] = []
        for placing in portion:
            into = folders[placing.head.folder]
            size = self._write(portions.to(placing.number), placing, into)
            told.left -= 1
            if size > room:
                told.no_room += 1
                os.unlink(placing.name, dir_fd=into.parts["tmp"])
                self._db.execute("DELETE FROM put_back WHERE name = ?", placing.name)
                continue
            room -= size
            full = f"{placing.name},S={placing.head.size},W={size}:2,{placing.letters}"
            ready.append((placing, into, full))
            self._at("written")
        for placing, into, full in ready:
            parts = into.parts
            os.rename(placing.name, full, src_dir_fd=parts["tmp"], dst_dir_fd=parts["cur"])
            self._at("placed")
        for into in folders.values():
            os.fsync(into.parts["cur"])
        told.put += len(ready)
        self._placed(placing for placing, _, _ in ready)

    def _record(self, archive: Archive, portion: Iterable[Placing]) -> None:
        """Note where the messages go before there is anything of them."""
        with self._db.transaction():
            self._db.many(
                "INSERT OR REPLACE INTO put_back"
                " (mailbox_id, archive, number, name, digest, folder, keywords, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'placing')",
                (
                    (
                        archive.mailbox_id,
                        archive.id,
                        placing.number,
                        placing.name,
                        placing.head.digest,
                        placing.head.folder,
                        placing.keywords,
                    )
                    for placing in portion
                ),
            )

    def _placed(self, placed: Iterable[Placing]) -> None:
        """Note that these are in the mailbox; only keywords may be missing now."""
        with self._db.transaction():
            self._db.many(
                "UPDATE put_back SET state = CASE keywords WHEN '' THEN 'put' ELSE 'placed' END"
                " WHERE name = ?",
                ((placing.name,) for placing in placed),
            )

    def _write(self, scanner: Scanner, placing: Placing, into: FolderFiles) -> int:
        """Write the scanner's message into `tmp`; return its size as the quota counts it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(placing.name, flags, 0o600, dir_fd=into.parts["tmp"])
        with os.fdopen(descriptor, "wb") as file:
            found = _Counted()
            for part in _message(scanner, placing.head, self._server.paths.archive):
                found.add(part)
                file.write(part)
            if (found.size, found.digest) != (placing.head.size, placing.head.digest):
                os.unlink(placing.name, dir_fd=into.parts["tmp"])
                raise ArchiveError("archive_changed", "A message is not as it was archived.")
            file.flush()
            config = self._server.config
            os.fchown(descriptor, config.mail_uid, config.mail_gid)
            os.utime(descriptor, (placing.head.received, placing.head.received))
            os.fsync(descriptor)
        return found.virtual_size

    # What follows, and what a killed run has left

    def _unfinished(self, mailbox_id: str, *states: str) -> list[sqlite3.Row]:
        rows = self._db.rows(
            "SELECT * FROM put_back WHERE mailbox_id = ? AND state <> 'put'", mailbox_id
        )
        return [row for row in rows if row["state"] in states]

    def _look_for_placed(self, mailbox: Mailbox) -> None:
        """Find which messages a killed run has placed; nothing is left of the others."""
        rows = self._unfinished(mailbox.mailbox_id, "placing")
        there: set[str] = set()
        for folder in mailbox.folders():
            found = mailbox.files(folder)
            found.look()
            there |= {_own(name) for name in found.names()}
            for row in rows:
                with suppress(FileNotFoundError):
                    os.unlink(row["name"], dir_fd=found.parts["tmp"])
        with self._db.transaction():
            self._db.many(
                "UPDATE put_back SET state = 'placed' WHERE name = ?",
                ((row["name"],) for row in rows if row["name"] in there),
            )
            self._db.many(
                "DELETE FROM put_back WHERE name = ?",
                ((row["name"],) for row in rows if row["name"] not in there),
            )

    def _give_keywords(self, mailbox: Mailbox) -> None:
        """Give the placed messages the flags that are not in their files' names."""
        wanted: dict[str, str] = {
            row["name"]: row["keywords"] for row in self._unfinished(mailbox.mailbox_id, "placed")
        }
        if not wanted:
            return
        uids: dict[tuple[Folder, str], list[int]] = defaultdict(list)
        for message in mailbox.messages(mailbox.folders()):
            if keywords := wanted.get(_own(message.name)):
                uids[message.folder, keywords].append(message.uid)
        for (folder, keywords), some in uids.items():
            mailbox.add_flags(folder, keywords, some)
        self._db.many("UPDATE put_back SET state = 'put' WHERE name = ?", ((n,) for n in wanted))


class _Portions:
    """The messages to be placed, in portions, and the scanner that comes to each of them."""

    def __init__(self, scanner: Scanner, wanted: list[tuple[int, mbox.Head]]) -> None:
        self._scanner = scanner
        self._wanted = wanted
        self._at = 0

    def __iter__(self) -> Iterator[list[Placing]]:
        portion: list[Placing] = []
        size, folders = 0, set[str]()
        for number, head in self._wanted:
            many = len(portion) == PORTION or len(folders | {head.folder}) > PORTION_FOLDERS
            if portion and (many or size + head.size > PORTION_BYTES):
                yield portion
                portion, size, folders = [], 0, set()
            portion.append(Placing(number, head, _new_name()))
            size += head.size
            folders.add(head.folder)
        if portion:
            yield portion

    def to(self, number: int) -> Scanner:
        """Go on to this message."""
        while self._at < number:
            if self._scanner.next() is None:
                raise ArchiveError("archive_changed", "The archive has become shorter.")
            self._at += 1
        return self._scanner


class _Counted:
    """Size and digest of a message whose parts come one after the other."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=32)
        self.size = 0
        self.virtual_size = 0
        self._last = b""

    def add(self, part: bytes | memoryview) -> None:
        data = bytes(part)
        self._hash.update(data)
        self.size += len(data)
        crlf = data.count(b"\r\n") + (self._last == b"\r" and data[:1] == b"\n")
        self.virtual_size += len(data) + data.count(b"\n") - crlf
        self._last = data[-1:]

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def missing(
    wanted: Mapping[int, str], put: Mapping[int, str], there: Mapping[str, int]
) -> set[int]:
    """Return which of the messages are not in the mailbox, by their digests.

    `wanted` are those asked for, `put` those that were put back before, `there` how often each
    digest is in the mailbox. Equal messages are told apart by what was put back: each that is
    there stands for one of those first.
    """
    left = dict(there)
    spare = {digest: count - Counter(put.values())[digest] for digest, count in there.items()}
    absent: set[int] = set()
    for number, digest in wanted.items():
        again = put.get(number) == digest
        if left.get(digest, 0) > 0 and (again or spare.get(digest, 0) > 0):
            left[digest] -= 1
            spare[digest] -= 0 if again else 1
        else:
            absent.add(number)
    return absent


@contextmanager
def _errors(archive: Archive) -> Iterator[None]:
    """Turn what a changed archive or a full disk of the mail says into ArchiveError."""
    try:
        yield
    except mbox.FormError as error:
        text = f"{archive.file_name} is not as it was written: {error}."
        raise ArchiveError("archive_changed", text) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = "The disk that holds the mail has no space left."
        raise ArchiveError("no_room", text) from error


def _checked(home: int, archive: Archive) -> BinaryIO:
    """Open the archive; ArchiveError unless it is the very one that was written."""
    descriptor = files.opened(home, archive.file_name)
    if archive.state == "removed" or descriptor is None:
        raise ArchiveError("no_archive", f"{archive.file_name} is no longer in the home.")
    file = os.fdopen(descriptor, "rb")
    if files.sum_of(descriptor) != files.Sum(archive.file_bytes, archive.sha256):
        file.close()
        text = f"{archive.file_name} is not as it was written: somebody has changed it."
        raise ArchiveError("archive_changed", text)
    return file


def _scanner(file: BinaryIO, archive: Archive) -> Scanner:
    """Read the archive as far as one of its messages and bytes can reach.

    Its owner may write into the file after it was checked, and this process is root's.
    """
    most = 2 * archive.mail_bytes + archive.messages * (mbox.LONGEST_HEAD + 2)
    return Scanner(file, most_bytes=most)


def _heads(file: BinaryIO, archive: Archive, numbers: set[int] | None) -> dict[int, mbox.Head]:
    """Return what stands before each message asked for."""
    scanner = _scanner(file, archive)
    found: dict[int, mbox.Head] = {}
    number = 0
    while head := scanner.next():
        number += 1
        if number > archive.messages:
            raise mbox.FormError("it holds more messages than were written")
        if numbers is None or number in numbers:
            found[number] = head
    if numbers is not None and (unknown := numbers - found.keys()):
        text = f"{archive.file_name} holds no message {min(unknown)}."
        raise ArchiveError("no_archive", text)
    return found


def _digests(mailbox: Mailbox, sizes: set[int]) -> Iterator[str]:
    """Yield the digests of those messages of the mailbox that have one of these sizes."""
    for folder in mailbox.folders():
        found = mailbox.files(folder)
        found.look()
        for name in found.names():
            details = found.details(name)
            if details and details.st_size in sizes and (stored := found.stored(name)):
                with stored:
                    yield mbox.digest_of(stored.content)


def _folders(mailbox: Mailbox, names: set[str]) -> dict[str, FolderFiles]:
    """Return the folders of these names, making those that are missing.

    What cannot be made, its name being another thing's by now, is the inbox.
    """
    there = {folder.name: folder for folder in mailbox.folders()}
    if names - there.keys():
        for name in sorted(names - there.keys()):
            mailbox.make_folder(name)
        there = {folder.name: folder for folder in mailbox.folders()}
    return {name: mailbox.files(there.get(name, there["INBOX"])) for name in names}


def _message(scanner: Scanner, head: mbox.Head, place: object) -> Iterator[bytes | memoryview]:
    """Yield the scanner's message, as it was."""
    if head.masked == head.size:
        yield from scanner.parts()
    elif head.masked <= _HELD:
        yield from mbox.unmasked(scanner.read(head.masked))
    else:
        with TemporaryFile(dir=str(place)) as file:
            for part in scanner.parts():
                file.write(part)
            file.flush()
            with mmap(file.fileno(), 0, prot=PROT_READ) as content:
                yield from mbox.unmasked(content)


def _new_name() -> str:
    """Return a name for a file in a Maildir, which no other has."""
    host = "".join(letter for letter in socket.gethostname() if letter.isalnum() or letter in "-.")
    return f"{int(time.time())}.R{secrets.token_hex(8)}.{host or 'localhost'}"


def _own(name: str) -> str:
    """Return a file's name up to its size, as it is on record."""
    return name.partition(",")[0]
