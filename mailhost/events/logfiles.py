"""Postfix's log as a row of files: the one that is written to, and those it was before.

A log is rotated by a new name (logrotate, `postfix logrotate`, which also compresses it) or by
emptying it. A file is known again by its inode and how it begins, a compressed one by the latter.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, NamedTuple, cast

from mailhost.events.database import Position

#: So much of its beginning is remembered of a file: a few lines with their times.
HEAD = 256
# How far before its end a file's last whole line is looked for.
_TAIL = 65536


class LogFile(NamedTuple):
    """A file of the log, and how it begins."""

    path: Path
    inode: int
    head: bytes

    def is_at(self, position: Position) -> bool:
        """Say whether the position is one in this file."""
        if not self.head.startswith(position.head):
            return False
        return self.inode == position.inode or bool(position.head)


def open_log(path: Path) -> IO[bytes]:
    """Open a file of the log, compressed or not."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb", buffering=0)


def look(path: Path) -> LogFile | None:
    """Return the file at this path, None if it is not there or cannot be read."""
    with suppress(OSError, EOFError, zlib.error), closing(open_log(path)) as file:
        return LogFile(path, os.fstat(file.fileno()).st_ino, file.read(HEAD) or b"")
    return None


def chain(current: Path) -> list[LogFile]:
    """Return all files of the log, the oldest first; `current` is the one that is written to."""
    found: dict[bytes, LogFile] = {}
    for path in _earlier(current):
        file = look(path)
        # Compressed only just now, a file may be there twice: the first is the plain one.
        if file and file.head and file.head not in found:
            found[file.head] = file
    last = look(current)
    if last:
        found.pop(last.head, None)
    return [*found.values(), *([last] if last else [])]


def _earlier(current: Path) -> Iterator[Path]:
    names = [path for path in current.parent.glob(f"{current.name}.*") if path.is_file()]
    yield from sorted(names, key=lambda path: (path.stat().st_mtime, path.suffix == ".gz"))


def at_the_end(path: Path) -> Position | None:
    """Return the position after the last whole line of a file; None if there is none."""
    with suppress(OSError), path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        start = max(0, status.st_size - _TAIL)
        file.seek(start)
        tail = file.read(status.st_size - start) or b""
        offset = start + tail.rfind(b"\n") + 1
        file.seek(0)
        return Position(status.st_ino, file.read(min(HEAD, offset)) or b"", offset)
    return None
