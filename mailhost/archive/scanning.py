"""An archive read from its beginning, message by message, without ever holding more than a part.

The file may be anything: its sizes are checked against what is there, and what is decompressed and
how long that takes can be bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from mailhost.archive.mbox import LONGEST_HEAD, FormError, Head, head_from

_PART = 1 << 18
# The stub calls it an instance.
_BROKEN = cast("type[Exception]", isal_zlib.error)


class TooMuch(FormError):
    """More would have to be decompressed than is allowed."""


class Scanner:
    """An archive's messages, in their order; raises FormError where it is no archive of ours."""

    def __init__(
        self, file: BinaryIO, *, most_bytes: int | None = None, seconds: float | None = None
    ) -> None:
        """Read from the file's beginning, no more than so many bytes and so long (TooMuch)."""
        file.seek(0)
        self._gzip = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
        self._left = most_bytes
        self._end = None if seconds is None else time.monotonic() + seconds
        self._held = b""
        self._rest = 0  # of the present message, masked, and not read yet
        self._last = b""
        self._within = False

    def next(self) -> Head | None:
        """Go on to the next message and return its head; None at the end."""
        if self._within:
            self._pass_by()
        while len(self._held) < LONGEST_HEAD and (more := self._more()):
            self._held += more
        if not self._held:
            return None
        head, length = head_from(self._held[:LONGEST_HEAD])
        self._held = self._held[length:]
        self._rest, self._last, self._within = head.masked, b"", True
        return head

    def read(self, most: int) -> bytes:
        """Return so much, or what is left, of the present message as it stands in the archive."""
        parts = []
        while most > 0 and (part := self._part(most)):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)

    def parts(self) -> Iterator[bytes]:
        """Yield the rest of the present message as it stands in the archive."""
        while part := self._part(_PART):
            yield part

    def _part(self, most: int) -> bytes:
        if not self._rest:
            return b""
        part = self._take(min(most, self._rest))
        self._rest -= len(part)
        self._last = part[-1:]
        return part

    def _pass_by(self) -> None:
        for _ in self.parts():
            pass
        wanted = b"\n" if self._last == b"\n" else b"\n\n"
        found = b""
        while len(found) < len(wanted):
            found += self._take(len(wanted) - len(found))
        if found != wanted:
            raise FormError("a message does not end where it should")
        self._within = False

    def _take(self, most: int) -> bytes:
        """Return at least one byte; FormError at the file's end."""
        if not self._held:
            self._held = self._more()
        if not self._held:
            raise FormError("the archive ends within a message")
        part, self._held = self._held[:most], self._held[most:]
        return part

    def _more(self) -> bytes:
        """Decompress some more; nothing at the end."""
        if self._end is not None and time.monotonic() > self._end:
            raise TooMuch("it takes too long to decompress")
        try:
            more = self._gzip.read(_PART)
        except (OSError, EOFError, _BROKEN) as error:
            raise FormError(f"it cannot be decompressed ({error})") from error
        if self._left is not None:
            self._left -= len(more)
            if self._left < 0:
                raise TooMuch("too much would have to be decompressed")
        return more
