"""Follows Postfix's log: each line once, over rotations of the log and restarts of ours.

Events and how far they were read are written together, so that a kill neither loses nor doubles
any. A file that has got another name is read to its end before the next one is begun.
"""

from __future__ import annotations

import gzip
import logging
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO

from mailhost.events import logfiles
from mailhost.events.database import EventDatabase, Position
from mailhost.events.hosted import Hosted
from mailhost.events.parsing import Event, Parser
from mailhost.paths import Paths

#: Bytes read at once: what one transaction holds.
CHUNK = 1 << 20
#: Seconds for which Postfix may go on writing to a file that has got another name.
GRACE = 3.0
#: Seconds after which it is noted again that all of the log is known.
ALIVE = 5.0
# Bytes of lines without an event until the position is noted all the same.
_UNNOTED = 8 << 20

# A compressed file that was cut off, or whose bytes have changed.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)

# There was no log when we began: all of it is new.
_NOTHING = Position(0, b"", 0)

_log = logging.getLogger("mailhost.events")


class Follower:
    """Where in the log we are. To be used by one thread."""

    def __init__(self, paths: Paths) -> None:
        """Go on where the last one ended; the first one begins at the log's end."""
        self._current = paths.log / "postfix.log"
        self._db = EventDatabase(paths.events_db)
        self._hosted = Hosted(paths.store)
        self._parser = Parser(self._hosted.is_hosted, self._db.senders())
        known = self._db.position()
        self._position = known or logfiles.at_the_end(self._current) or _NOTHING
        self._noted = self._position.offset
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._renamed_at = 0.0
        self._alive_noted: float | None = None
        if known is None:
            self._db.begin(time.time())
            self._keep([])

    def close(self) -> None:
        """Close everything."""
        self._leave()
        self._hosted.close()
        self._db.close()

    def last_number(self) -> int:
        """Return the newest event's number."""
        return self._db.last_number()

    def forget(self) -> bool:
        """Forget some of the oldest events; return whether there may be more to forget."""
        return self._db.forget(time.time())

    def turn(self) -> bool:
        """Read the next piece of the log; return whether there may be more at once."""
        if self._file is None and not self._find():
            return False
        looked_at = time.time()
        try:
            piece = self._read()
        except _DAMAGED as error:
            _log.error("the rest of %s is passed over: %s", self._path, error)
            self._db.begin(time.time())
            return self._next()
        whole = piece.rfind(b"\n") + 1
        if whole:
            self._take(piece[:whole])
            if len(piece) < CHUNK:
                self._note_alive(looked_at)
            return True
        if len(piece) == CHUNK:
            # No line of Postfix's is so long.
            self._take(piece + b"\n", len(piece))
            return True
        return self._at_the_end(looked_at)

    def _read(self) -> bytes:
        """Return what comes next in the open file, a piece of it."""
        assert self._file is not None  # noqa: S101 (it was found)
        self._file.seek(self._position.offset)
        return self._file.read(CHUNK) or b""

    def _note_alive(self, looked_at: float) -> None:
        """Note, now and then, that all was known at that time: we are at the log's end."""
        now = time.monotonic()
        if self._alive_noted is not None and now < self._alive_noted + ALIVE:
            return
        if self._path == self._current and self._is_current():
            self._db.note_alive(looked_at)
            self._alive_noted = now

    def _take(self, piece: bytes, size: int = 0) -> None:
        """Keep what these lines say; `size` are their bytes, if not all of them."""
        self._hosted.refresh()
        inode, head, offset = self._position
        if len(head) < logfiles.HEAD:
            head = head if len(head) < offset else head + piece[: logfiles.HEAD - len(head)]
        events = self._parser.read(piece.split(b"\n"))
        self._position = Position(inode, head, offset + (size or len(piece)))
        if events or self._parser.went or self._position.offset - self._noted > _UNNOTED:
            self._keep(events)

    def _keep(self, events: list[Event]) -> None:
        parser = self._parser
        came = {queue_id: parser.senders[queue_id] for queue_id in parser.came}
        self._db.keep(events, self._position, came, parser.went, time.time())
        parser.came.clear()
        parser.went.clear()
        self._noted = self._position.offset

    # Which file

    def _find(self) -> bool:
        """Open the file that the position is in, or the newest; say whether there is one."""
        files = logfiles.chain(self._current)
        if not files:
            return False
        if self._position == _NOTHING:
            return self._open(files[0])
        for file in files:
            if file.is_at(self._position):
                return self._open(file, self._position)
        _log.warning("the log that was read last is gone")
        self._db.begin(time.time())
        return self._open(files[-1])

    def _open(self, file: logfiles.LogFile, position: Position | None = None) -> bool:
        self._leave()
        try:
            self._file = logfiles.open_log(file.path)
            inode = os.fstat(self._file.fileno()).st_ino
        except OSError as error:
            _log.warning("%s: %s", file.path.name, error)
            return False
        head, offset = (position.head, position.offset) if position else (b"", 0)
        self._path, self._position = file.path, Position(inode, head, offset)
        self._noted = offset
        return True

    def _leave(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._renamed_at = None, 0.0

    def _at_the_end(self, looked_at: float) -> bool:
        """Look whether the log goes on in another file; say whether there is more at once."""
        assert self._file is not None  # noqa: S101 (it was read)
        if self._is_emptied():
            # Copied before, it goes on in the copy, which begins alike.
            _log.info("the log was emptied")
            self._leave()
            return True
        if self._path == self._current and self._is_current():
            self._renamed_at = 0.0
            self._note_alive(looked_at)
            return False
        if self._path == self._current:
            # Postfix writes there until it is told of the new one.
            self._renamed_at = self._renamed_at or time.monotonic()
            if time.monotonic() < self._renamed_at + GRACE:
                return False
        return self._next()

    def _is_emptied(self) -> bool:
        """Say whether the open file is shorter than what was read, or begins otherwise."""
        assert self._file is not None  # noqa: S101 (it was read)
        if self._path is None or self._path.suffix == ".gz":
            return False
        if os.fstat(self._file.fileno()).st_size < self._position.offset:
            return True
        self._file.seek(0)
        return (self._file.read(len(self._position.head)) or b"") != self._position.head

    def _is_current(self) -> bool:
        """Say whether the open file is still the one that Postfix writes to."""
        assert self._file is not None  # noqa: S101 (it was read)
        with suppress(FileNotFoundError):
            here, there = os.fstat(self._file.fileno()), self._current.stat()
            return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        return False

    def _next(self) -> bool:
        """Go on with the file after the open one, which has been read to its end."""
        files = logfiles.chain(self._current)
        if not files:
            return False
        places = [n for n, file in enumerate(files) if file.is_at(self._position)]
        after = places[-1] + 1 if places else len(files) - 1
        if after >= len(files):
            # The new one is not there yet.
            return False
        return self._open(files[after])
