"""The home directories of domains: opened without following links, made where they are missing.

A home belongs to `home_uid`, under which the FTP server's sessions run: its owner may put anything
there, and may rename and delete whatever is there. So everything in it is reached through the
descriptor of the directory, step by step, and by names that are taken for themselves alone.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailhost import grammar
from mailhost.config import HostConfig
from mailhost.errors import HostError

#: Of a home: its owner writes, the FTP server's and the panel's group reads.
MODE = 0o750
_ARCHIVE = re.compile(r"\A(.+)\.oldmail\.([0-9]{8})(?:-([1-9][0-9]?))?\.gz\Z")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CODES = {
    errno.ENOENT: "home_missing",
    errno.ELOOP: "home_unsafe",
    errno.ENOTDIR: "home_unsafe",
    errno.EROFS: "home_readonly",
    errno.EACCES: "home_readonly",
    errno.EPERM: "home_readonly",
    errno.ENOSPC: "home_full",
    errno.EDQUOT: "home_full",
    errno.EFBIG: "home_full",
}
_REASONS = {
    "home_missing": "does not exist",
    "home_unsafe": "is a link, or no directory",
    "home_readonly": "cannot be written to",
    "home_full": "has no space left",
}


class HomeError(HostError):
    """A home that cannot be used; `code` is one of mailhost.archive's CODES that begin "home_"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def account_of(file_name: str) -> str | None:
    """Return whose archive a file of this name is; None if it is no archive's name.

    An account's name may itself hold ".oldmail.": what counts is the last one.
    """
    match = _ARCHIVE.match(file_name)
    if match is None:
        return None
    named = grammar.MAILBOX_NAME.match(match[1]) or grammar.FIXED_NAME.match(match[1])
    return match[1] if named else None


def archive_name(account: str, day: str, number: int) -> str:
    """Return the name of an account's archive of a day (YYYYMMDD); `number` counts from 1."""
    return f"{account}.oldmail.{day}{f'-{number}' if number > 1 else ''}.gz"


def root_of(root: Path, config: HostConfig) -> Path:
    """Return the directory below which the homes of the server in `root` lie."""
    return Path(config.homes_root or root.absolute() / "homes")


@contextmanager
def home_errors(place: object) -> Iterator[None]:
    """Turn what the file system says about a home into HomeError; other errors stay."""
    try:
        yield
    except OSError as error:
        code = _CODES.get(error.errno or 0)
        if code is None:
            raise
        raise HomeError(code, f"The home {place} {_REASONS[code]} ({error.strerror}).") from error


@contextmanager
def opened(homes_root: Path, home: str) -> Iterator[int]:
    """Open a home, `homes_root / home`, and give its descriptor. May raise HomeError."""
    descriptor = _open(homes_root, home)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(home: str) -> None:
    if not home or not grammar.HOME.match(home):
        raise HomeError("home_missing", f"The domain has no home directory on record: {home!a}.")


def _open(homes_root: Path, home: str) -> int:
    _check(home)
    with home_errors(homes_root / home):
        # The operator's own choice; it may lead over a link.
        descriptor = os.open(homes_root, _DIRECTORY)
        for name in home.split("/"):
            try:
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def make(homes_root: Path, config: HostConfig, home: str) -> bool:
    """Make a home if nothing is there; return whether it was made. May raise HomeError.

    What is there stays as it is, whoever it belongs to.
    """
    _check(home)
    above, _, name = home.rpartition("/")
    with home_errors(homes_root / home):
        if above:
            make(homes_root, config, above)
            parent = _open(homes_root, above)
        else:
            parent = os.open(homes_root, _DIRECTORY)
        try:
            return _make(parent, name, config)
        finally:
            os.close(parent)


def _make(parent: int, name: str, config: HostConfig) -> bool:
    try:
        # Closed to others until its owner is right.
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None
        # One that was killed here left it root's, and empty of anybody else's.
        if (found.st_uid, stat.S_IMODE(found.st_mode)) != (0, 0o700):
            return False
    descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchmod(descriptor, MODE)
        os.fchown(descriptor, config.home_uid, config.home_gid)
    finally:
        os.close(descriptor)
    return True
