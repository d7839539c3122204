"""One mailbox, asked of Dovecot and read as the files that it keeps (Maildir++).

Dovecot says which messages there are, and it alone removes them. Their bytes are read as files:
over IMAP a NUL would come as something else. What lies below the mailbox's directory belongs to the
mail user, who may have put a link anywhere in it: none is followed.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from mailhost.archive.errors import ArchiveError
from mailhost.archive.mbox import Bytes
from mailhost.config import HostConfig
from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.paths import Paths

#: Seconds that Dovecot gets to list or expunge: it may have to index a large mailbox first.
PATIENCE = 600.0
#: Messages, and ranges of their numbers, that one command expunges.
PORTION, RANGES = 2000, 300
#: Folders of a mailbox, which may have thousands, whose directories, four each, are open at once.
OPEN_FOLDERS = 40
#: A larger message is mapped into memory instead of read.
_MAPPED_FROM = 4 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GUID = re.compile(rb"\A3 (?:\S+ )*G([0-9a-f]{32})(?: |\n)")
_VSIZE = re.compile(r",W=([0-9]{1,15})(?=[,:]|\Z)")
# Seconds in which a Dovecot that is there says so.
_BREATH = 10.0
# sysexits.h, as doveadm ends with them.
_NO_USER = 67


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as Dovecot sees it; `vsize` is its bytes as the quota counts them."""

    name: str
    guid: str
    uidvalidity: int
    vsize: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Dovecot lists it. `name` is its file's, without flags."""

    folder: Folder
    uid: int
    name: str
    flags: tuple[str, ...]


@dataclass(slots=True)
class Stored:
    """A message's bytes, in memory or mapped into it. `received` is in UNIX seconds."""

    content: Bytes
    received: int

    def __enter__(self) -> Self:
        """Let go of the bytes at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of them."""
        if isinstance(self.content, mmap.mmap):
            self.content.close()


class Mailbox:
    """An account's mailbox. To be used as a context manager, which closes what it has opened."""

    def __init__(self, paths: Paths, config: HostConfig, account: str, mailbox_id: str) -> None:
        """Name the mailbox; nothing is asked yet."""
        self.account = account
        self.mailbox_id = mailbox_id
        self._paths = paths
        self._config = config
        self._doveadm = Doveadm(paths)
        self._open = ExitStack()
        self._maildir = -1
        self._places: dict[str, str] = {}
        self._folders: dict[str, FolderFiles] = {}

    def __enter__(self) -> Self:
        """Open the mailbox's directory. ArchiveError if it is another's, or cannot be read."""
        with mail_errors(f"The mailbox of {self.account}"):
            try:
                self._maildir = self._own_directory()
            except FileNotFoundError:
                # Dovecot makes it when the mailbox is first used.
                self.folders()
                self._maildir = self._own_directory()
        self._open.callback(os.close, self._maildir)
        return self

    def _own_directory(self) -> int:
        home = self._paths.home(self.mailbox_id)
        descriptor = os.open(self._paths.mail, _DIRECTORY)
        for name in (home.parent.name, home.name, "Maildir"):
            try:
                below = os.open(name, _DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def __exit__(self, *_error: object) -> None:
        """Close it."""
        for found in self._folders.values():
            found.close()
        self._folders.clear()
        self._places.clear()
        self._open.close()

    # Asked of Dovecot

    def folders(self) -> list[Folder]:
        """Return all folders as they are now, the inbox first."""
        fields = "messages uidvalidity vsize guid"
        rows = self._table("mailbox", "status", "-u", self.account, fields, "*")
        found = [Folder(row[0], row[4], int(row[2]), int(row[3])) for row in rows]
        return sorted(found, key=lambda folder: (folder.name != "INBOX", folder.name))

    def used(self) -> int:
        """Return the bytes that all folders hold, as Dovecot's quota counts them."""
        return sum(folder.vsize for folder in self.folders())

    def messages(self, folders: Iterable[Folder]) -> list[Message]:
        """Return the messages in these folders, folder by folder, in the order of their numbers."""
        found: list[Message] = []
        for folder in folders:
            query = ("mailbox-guid", folder.guid, "ALL")
            for row in self._table("fetch", "-u", self.account, "uid storageid flags", *query):
                uid, name, flags = row
                kept = tuple(flag for flag in flags.split() if flag != "\\Recent")
                found.append(Message(folder, int(uid), name, kept))
        return found

    def expunge(self, folder: Folder, uids: Sequence[int]) -> None:
        """Remove these messages for good; those that are gone already are passed over.

        Asked before each portion, the folder has to be the same still: ArchiveError
        "mailbox_changed".
        """
        for portion in portions(uids):
            now = {other.guid: other.uidvalidity for other in self.folders()}
            if folder.guid not in now:
                return
            if now[folder.guid] != folder.uidvalidity:
                text = f"The folder {folder.name!a} of {self.account} has been made anew meanwhile."
                raise ArchiveError("mailbox_changed", text)
            # The folder is named by an id that no other has, in this mailbox or another's.
            self._ask("expunge", "-u", self.account, "mailbox-guid", folder.guid, "uid", portion)

    def make_folder(self, name: str) -> None:
        """Make and subscribe a folder, if that is possible."""
        try:
            self._ask("mailbox", "create", "-s", "-u", self.account, "--", name)
        except ArchiveError as error:
            if error.code != "mailbox_unreadable":
                raise

    def add_flags(self, folder: Folder, flags: str, uids: Sequence[int]) -> None:
        """Give flags, words with blanks between, to these messages."""
        for portion in portions(uids):
            query = ("mailbox-guid", folder.guid, "uid", portion)

            self._ask("flags", "add", "-u", self.account, "--", flags, *query)

    def _table(self, *arguments: str) -> list[list[str]]:
        # No splitlines(): a folder's name may hold what Unicode takes for the end of a line.
        lines = self._ask("-f", "tab", *arguments).split("\n")
        return [line.split("\t") for line in lines[1:] if line]

    def _ask(self, *arguments: str) -> str:
        return _answer(self._doveadm, self.account, arguments)

    # Read as files

    def files(self, folder: Folder) -> FolderFiles:
        """Return the files of a folder. ArchiveError "mailbox_changed" if it has gone.

        Only OPEN_FOLDERS stay open: what was returned longest ago is closed.
        """
        with mail_errors(f"The mailbox of {self.account}"):
            found = self._folders.pop(folder.guid, None) or self._opened(folder.guid)
        if found is None:
            text = f"The folder {folder.name!a} of {self.account} has gone meanwhile."
            raise ArchiveError("mailbox_changed", text)
        self._folders[folder.guid] = found
        while len(self._folders) > OPEN_FOLDERS:
            self._folders.pop(next(iter(self._folders))).close()
        return found

    def _opened(self, guid: str) -> FolderFiles | None:
        """Open a folder's files where it lies now; its directory may have got another name."""
        for known in (True, False):
            if not known:
                self._find_folders()
            directory = self._directory(self._places.get(guid, ""))
            if directory >= 0 and self._guid(directory) == guid:
                return FolderFiles(directory, self._config)
            if directory >= 0:
                os.close(directory)
        return None

    def _find_folders(self) -> None:
        """Look which folder each directory is; Dovecot's list of messages in each has its id."""
        self._places.clear()
        for name in (".", *_listed(self._maildir)):
            directory = self._directory(name) if name.startswith(".") else -1
            if directory >= 0:
                self._places.setdefault(self._guid(directory), name)
                os.close(directory)

    def _directory(self, name: str) -> int:
        """Open a directory of the mailbox; -1 if there is none of that name."""
        try:
            return os.open(name, _DIRECTORY, dir_fd=self._maildir)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return -1
            raise

    def _guid(self, directory: int) -> str:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open("dovecot-uidlist", flags, dir_fd=directory)
        except OSError:
            return ""
        try:
            match = _GUID.match(os.read(descriptor, 512))
        finally:
            os.close(descriptor)
        return match[1].decode() if match else ""


class FolderFiles:
    """The message files of one folder, found by their names without flags."""

    def __init__(self, directory: int, config: HostConfig) -> None:
        """Take the open directory of the folder, which is closed along with the rest."""
        self._config = config
        self.directory = directory
        self.parts: dict[str, int] = {}
        try:
            for name in ("cur", "new", "tmp"):
                self.parts[name] = os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError:
            self.close()
            raise
        self._files: dict[str, tuple[str, str]] = {}

    def close(self) -> None:
        """Close the directories."""
        for descriptor in (*self.parts.values(), self.directory):
            os.close(descriptor)

    def look(self) -> None:
        """Look which files there are."""
        # A message moves from `new` to `cur`, never back: in this order none is overlooked.
        self._files = {
            name.partition(":")[0]: (part, name)
            for part in ("new", "cur")
            for name in _listed(self.parts[part])
        }

    def names(self) -> set[str]:
        """Return the names of all files there were when they were looked at, without flags."""
        return set(self._files)

    def details(self, name: str) -> os.stat_result | None:
        """Return what is known of a message's file without opening it; None if it has gone."""
        for _ in range(3):
            if name in self._files:
                part, full = self._files[name]
                with suppress(FileNotFoundError):
                    return os.stat(full, dir_fd=self.parts[part], follow_symlinks=False)
            self.look()
        return None

    def stored(self, name: str) -> Stored | None:
        """Open a message's file and return its content; None if it has gone.

        ArchiveError "mailbox_unreadable" for what no mail server has written.
        """
        with mail_errors(f"The message {name!a}"):
            descriptor = self._opened(name)
            if descriptor is None:
                return None
            try:
                return self._content(descriptor, name)
            finally:
                os.close(descriptor)

    def _content(self, descriptor: int, name: str) -> Stored:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != self._config.mail_uid:
            text = f"A file of the mailbox is not the mail server's: {name!a}"
            raise ArchiveError("mailbox_unreadable", text)
        if found.st_size < _MAPPED_FROM:
            return Stored(_read(descriptor), int(found.st_mtime))
        return Stored(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), int(found.st_mtime))

    def _opened(self, name: str) -> int | None:
        """Open a message's file under whatever name it has now: its flags are part of it."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        for _ in range(5):
            if name in self._files:
                part, full = self._files[name]
                with suppress(FileNotFoundError):
                    return os.open(full, flags, dir_fd=self.parts[part])
            self.look()
        return None


def virtual_size(name: str, details: os.stat_result) -> int:
    """Return a message's size as the quota counts it, each line's end as two bytes."""
    match = _VSIZE.search(name)
    return int(match[1]) if match else details.st_size


def portions(uids: Sequence[int]) -> Iterator[str]:
    """Yield message numbers as ranges that hold these alone, few enough for one command each."""
    ordered = sorted(set(uids))
    for start in range(0, len(ordered), PORTION):
        ranges = _ranges(ordered[start : start + PORTION])
        for first in range(0, len(ranges), RANGES):
            yield ",".join(ranges[first : first + RANGES])


def _ranges(ordered: Sequence[int]) -> list[str]:
    """Return increasing numbers as ranges, such as 4:9 and 12."""
    found: list[list[int]] = []
    for number in ordered:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{first}:{last}" if last > first else str(first) for first, last in found]


def by_folder(messages: Iterable[Message]) -> dict[Folder, list[Message]]:
    """Return the messages of each folder."""
    found: dict[Folder, list[Message]] = defaultdict(list)
    for message in messages:
        found[message.folder].append(message)
    return found


@contextmanager
def mail_errors(what: str) -> Iterator[None]:
    """Turn what the file system says about a mailbox or message into ArchiveError."""
    try:
        yield
    except OSError as error:
        about = f"{error.strerror}: {error.filename!a}"
        text = f"{what} cannot be read ({about})."
        raise ArchiveError("mailbox_unreadable", text) from error


def _answer(doveadm: Doveadm, account: str, arguments: Sequence[str]) -> str:
    try:
        answer = doveadm.run(*arguments, seconds=PATIENCE)
    except NoAnswer as error:
        raise ArchiveError("server_down", f"Dovecot does not answer ({error}).") from error
    if answer.code == 0:
        return answer.out
    said = answer.err.partition("\n")[0] or f"doveadm {arguments[0]} ended with {answer.code}"
    if answer.code == _NO_USER:
        raise ArchiveError("no_account", f"Dovecot has no account {account} at the moment.")
    # The code for "later" is also that of a file which Dovecot cannot read.
    if answer.code == os.EX_TEMPFAIL and not doveadm.alive(_BREATH):
        raise ArchiveError("server_down", f"Dovecot does not answer ({said}).")
    raise ArchiveError("mailbox_unreadable", f"Dovecot cannot do it ({said}).")


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, _MAPPED_FROM):
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _listed(directory: int) -> list[str]:
    """Return the names in an open directory."""
    with os.scandir(directory) as inside:
        return sorted(entry.name for entry in inside)
