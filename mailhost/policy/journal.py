"""What becomes of messages on their way, on record: lines appended to a file.

A row of the database for each recipient, written and deleted again within seconds, would cost
more than all else that is done about it. So all that one turn of the event loop has to say is
appended by one system call, read again when the daemon starts, and now and then replaced by
what holds by then. Like the database, the file is safe from the end of the process, not from
a power cut.

What is both counted in the database and marked as counted here is numbered: the mark is written
first, and holds if the database knows of its number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from mailhost.policy.database import PolicyDatabase

#: Bytes after which the file is to be replaced.
MOST_BYTES = 8 * 1024 * 1024

Entry = tuple[Any, ...]
"""What happened, and its values: numbers and texts without line breaks."""


class Journal:
    """The file. To be used by the daemon alone."""

    def __init__(self, db: PolicyDatabase) -> None:
        """Open the file beside the database, making it, closed to others, if there is none."""
        self._db = db
        self._path = db.path.with_name("journal")
        self._waiting: list[str] = []
        self._open()
        db.before_commit(self._write)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._file).st_size

    @property
    def is_long(self) -> bool:
        """Say whether it is time to `replace` what is there."""
        return self._size >= MOST_BYTES

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self) -> Iterator[Entry]:
        """Yield all entries, the oldest first; one that was not written whole is left out."""
        for line in self._path.read_bytes().split(b"\n")[:-1]:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, list) and entry:
                yield tuple(entry)

    def note(self, *entry: Any) -> None:
        """Append an entry before the next commit."""
        self._waiting.append(json.dumps(entry))
        if not self._db.waiting:
            self._db.wait()

    def note_quickly(self, number: int, text: str) -> None:
        """Append the commonest of entries likewise: a number and a text."""
        self._waiting.append(f"[{number},{_quoted(text)}]")
        if not self._db.waiting:
            self._db.wait()

    def _write(self) -> None:
        """Append what was noted, or nothing: OSError, and the next time will do."""
        if not self._waiting:
            return
        data = ("\n".join(self._waiting) + "\n").encode("ascii")
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(f"{self._path}: the disk is full")
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += written
        self._waiting.clear()

    def replace(self, entries: Iterable[Entry]) -> None:
        """Put these in place of all that is there. OSError: all is as it was."""
        new = self._path.with_name(self._path.name + ".new")
        data = "".join(json.dumps(entry) + "\n" for entry in entries)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(data)
        new.replace(self._path)
        os.close(self._file)
        self._open()


_quoted = json.encoder.encode_basestring_ascii
