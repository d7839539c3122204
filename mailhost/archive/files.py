"""Archives as files in a home: written aside, given their names, looked for, removed.

The home's owner may rename, delete and replace whatever is in it at any moment. So a new file is
root's alone until it is complete; it gets its name by a link from its descriptor, which
overwrites nothing and cannot be led to another file; and what is found by a name is believed only
after its bytes were hashed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mailhost import homes
from mailhost.archive.errors import ArchiveError
from mailhost.config import HostConfig

#: Of an archive: its owner may delete it, the FTP server's and the panel's group reads it.
MODE = 0o640
#: Archives of one account and day.
MOST_A_DAY = 99
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class Sum:
    """What a file is known by."""

    size: int
    sha256: str


@contextmanager
def home_of(homes_root: Path, home: str) -> Iterator[int]:
    """Open a home; what its file system refuses within the block becomes ArchiveError."""
    try:
        with homes.opened(homes_root, home) as descriptor, homes.home_errors(homes_root / home):
            yield descriptor
    except homes.HomeError as error:
        raise ArchiveError(error.code, str(error)) from error


def temporary_name(account: str) -> str:
    """Return a name for a file being written, which no other has and FTP programs do not show."""
    return f".{account}.oldmail.{secrets.token_hex(8)}.part"


class Draft:
    """An archive being written: counts and hashes what goes into its file."""

    def __init__(self, home: int, name: str) -> None:
        """Make the file, in an open home."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.descriptor = os.open(name, flags, 0o600, dir_fd=home)
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it."""
        view = memoryview(data)
        while view:
            done = os.write(self.descriptor, view)
            self._hash.update(view[:done])
            self._size += done
            view = view[done:]
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def finish(self) -> Sum:
        """Bring all to the disk; return what the file is known by from now on."""
        os.fsync(self.descriptor)
        return Sum(self._size, self._hash.hexdigest())

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def opened(home: int, name: str, *, root_may_own: HostConfig | None = None) -> int | None:
    """Open a file of an open home; None if nothing, or anything but a file, is there.

    With `root_may_own` it has to be root's or the homes' owner's.
    """
    try:
        descriptor = os.open(name, _READ, dir_fd=home)
    except OSError as error:
        # ENXIO: a socket, or a device without a driver.
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR):
            return None
        raise
    found = os.fstat(descriptor)
    owners = {0, root_may_own.home_uid} if root_may_own else {found.st_uid}
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in owners:
        os.close(descriptor)
        return None
    return descriptor


def sum_of(descriptor: int) -> Sum:
    """Read an open file from its beginning; return what it is known by."""
    digest = hashlib.sha256()
    size = 0
    while part := os.pread(descriptor, _PART, size):
        digest.update(part)
        size += len(part)
    return Sum(size, digest.hexdigest())


def find(home: int, name: str, wanted: Sum) -> int | None:
    """Open the file of this name if it is the very one that was written, byte for byte."""
    descriptor = opened(home, name)
    if descriptor is None:
        return None
    if os.fstat(descriptor).st_size == wanted.size and sum_of(descriptor) == wanted:
        return descriptor
    os.close(descriptor)
    return None


def publish(
    home: int, descriptor: int, config: HostConfig, names: Iterator[str], say: Callable[[str], None]
) -> str:
    """Give a complete file the first of `names` that is free, and its owner; return the name.

    `say` is called with each name before it is tried.
    """
    os.fchmod(descriptor, MODE)
    os.fchown(descriptor, config.home_uid, config.home_gid)
    os.fsync(descriptor)
    for name in names:
        say(name)
        # As a rename that overwrites nothing (linkat(2), AT_SYMLINK_FOLLOW).
        with suppress(FileExistsError):
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=home)
            return name
    text = f"All {MOST_A_DAY} names for archives of this account and day are taken in the home."
    raise ArchiveError("not_ours", text)


def settle(home: int, temporary: str, descriptor: int) -> None:
    """Take a published file's temporary name away, and bring the home to the disk.

    ArchiveError "home_unsafe" if someone has given the file another name meanwhile.
    """
    discard(home, temporary, descriptor)
    os.fsync(home)
    if os.fstat(descriptor).st_nlink != 1:
        text = "Someone has renamed the archive, or linked to it, while it was being written."
        raise ArchiveError("home_unsafe", text)


def is_there(home: int, name: str, descriptor: int) -> bool:
    """Say whether the open file is still the one of this name."""
    with suppress(FileNotFoundError):
        found, own = os.stat(name, dir_fd=home, follow_symlinks=False), os.fstat(descriptor)
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
    return False


def discard(home: int, name: str, descriptor: int | None = None) -> None:
    """Delete a file of ours, if it is there (and, given its descriptor, only that one)."""
    with suppress(FileNotFoundError, IsADirectoryError):
        # Looked for first: in a read-only home even what is not there cannot be deleted.
        os.stat(name, dir_fd=home, follow_symlinks=False)
        if descriptor is None or is_there(home, name, descriptor):
            os.unlink(name, dir_fd=home)
