r"""The form of an archive: an mbox (RFC 4155) that mail programs read, and that is reversible.

Each message is written as

    From MAILER-DAEMON Thu Nov 27 03:04:05 2026
    X-Folder: INBOX
    X-Plusmail-Flags: \Seen $Label1
    X-Plusmail-Received: 1795748645
    X-Plusmail-Bytes: 1234 1235 DIGEST
    (the message, masked)
    (a newline if it does not end with one, and an empty line)

The lines before the message are ours and no part of it: its folder (UTF-8; "%", control
characters and what is no UTF-8 as %XX), Dovecot's flags, when it was received (UNIX seconds), and
its size, its size when masked, and the BLAKE2b digest of its bytes.

Masked: every line of the form `>*From ` has one ">" more in front ("mboxrd"), so that the mark
can be taken away again; so has, before the first empty line, every `>*Content-Length:`, which
some mail programs would believe and then take several messages for one. Nothing else is changed:
the size says where the message ends, with or without a last newline.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from mmap import mmap
from typing import Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

#: What a message's bytes may be in.
Bytes = bytes | mmap
_FROM = re.compile(rb"^>*From ", re.MULTILINE)
_MASKED_FROM = re.compile(rb"^>+From ", re.MULTILINE)
_LENGTH = re.compile(rb"^>*content-length[ \t]*:", re.MULTILINE | re.IGNORECASE)
_MASKED_LENGTH = re.compile(rb"^>+content-length[ \t]*:", re.MULTILINE | re.IGNORECASE)
_HEAD = re.compile(
    rb"From MAILER-DAEMON [A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}\n"
    rb"X-Folder: ([^\x00-\x1f]{1,2000})\n"
    rb"X-Plusmail-Flags: ?([!-~ ]{0,8000})\n"
    rb"X-Plusmail-Received: (-?[0-9]{1,12})\n"
    rb"X-Plusmail-Bytes: ([0-9]{1,15}) ([0-9]{1,15}) ([0-9a-f]{64})\n"
)
# Of the line of flags, beyond which a mailbox's holder may have given a message more of them.
_MOST_FLAGS = 8000
_FLAG = re.compile(r"[!-~]+")
#: No head is longer.
LONGEST_HEAD = 12_000
# Printable ASCII but "%", and all of UTF-8 beyond ASCII.
_PLAIN = bytes(range(0x20, 0x7F)).replace(b"%", b"").decode()
_PART = 1 << 20
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905


class FormError(ValueError):
    """This is no archive of ours."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a message. Sizes are in bytes, `received` in UNIX seconds."""

    folder: str
    flags: tuple[str, ...]
    received: int
    size: int
    masked: int
    digest: str


class Sink(Protocol):
    """Where an archive is written to."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of it."""
        ...


def digest_of(message: Bytes) -> str:
    """Return the digest by which a message is known."""
    return blake2b(message, digest_size=32).hexdigest()


def write(
    sink: Sink, message: Bytes, *, folder: str, flags: tuple[str, ...], received: int
) -> Head:
    """Write one message; return what was written before it."""
    marks = _marks(message)
    size = len(message)
    head = Head(folder, _fitting(flags), received, size, size + len(marks), digest_of(message))
    sink.write(_head(head))
    if isinstance(message, bytes) and not marks:
        sink.write(message)
    else:
        _write_parts(sink, message, marks)
    sink.write(b"\n" if message[-1:] == b"\n" else b"\n\n")
    return head


def _write_parts(sink: Sink, message: Bytes, marks: list[int]) -> None:
    """Write a message with a ">" at each of these places."""
    start = 0
    with memoryview(message) as view:
        for mark in (*marks, len(message)):
            for at in range(start, mark, _PART):
                with view[at : min(at + _PART, mark)] as part:
                    sink.write(part)
            if mark < len(message):
                sink.write(b">")
            start = mark


def _fitting(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that the line has room for, the system's first; no message fails by them."""
    room, found = _MOST_FLAGS, []
    for flag in sorted(filter(_FLAG.fullmatch, flags), key=lambda flag: not flag.startswith("\\")):
        room -= len(flag) + 1
        if room < 0:
            break
        found.append(flag)
    return tuple(found)


def _head(head: Head) -> bytes:
    flags = " ".join(head.flags)
    return (
        b"From MAILER-DAEMON %s\nX-Folder: %s\nX-Plusmail-Flags: %s\n"
        b"X-Plusmail-Received: %d\nX-Plusmail-Bytes: %d %d %s\n"
    ) % (
        _asctime(head.received),
        _quoted(head.folder),
        flags.encode("ascii"),
        head.received,
        head.size,
        head.masked,
        head.digest.encode(),
    )


def _asctime(moment: int) -> bytes:
    """Return a time as the line between messages has it (UTC), whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(min(max(moment, 0), 1 << 36))
    text = f"{_DAYS[weekday]} {_MONTHS[month - 1]} {day:2} {hour:02}:{minute:02}:{second:02} {year}"
    return text.encode()


def _quoted(folder: str) -> bytes:
    """Return a folder's name as one line that can be read again."""
    out = bytearray()
    for letter in folder:
        raw = letter.encode("utf-8", "surrogateescape")
        plain = letter in _PLAIN or (letter >= "\xa0" and not "\ud800" <= letter <= "\udfff")
        out += raw if plain else quote_from_bytes(raw, safe="").encode()
    return bytes(out)


def _marks(message: Bytes) -> list[int]:
    """Return where a ">" has to go in."""
    return _places(message, _FROM, _LENGTH, b"From ")


def _masks(masked: Bytes) -> list[int]:
    """Return where there is a ">" to be taken out."""
    return _places(masked, _MASKED_FROM, _MASKED_LENGTH, b">From ")


def _places(
    data: Bytes, lines: re.Pattern[bytes], lengths: re.Pattern[bytes], sign: bytes
) -> list[int]:
    # Most messages have none: looking for every line's beginning takes ten times as long.
    found = set()
    if data[: len(sign)] == sign or data.find(b"\nFrom ") >= 0 or data.find(b">From ") >= 0:
        found = {match.start() for match in lines.finditer(data)}
    if data[:1] != b"\n":
        end = data.find(b"\n\n")
        stop = end if end >= 0 else len(data)
        found |= {match.start() for match in lengths.finditer(data, 0, stop)}
    return sorted(found)


def unmasked(masked: Bytes) -> Iterator[memoryview]:
    """Yield a message's bytes, part by part, from how they stand in the archive."""
    start = 0
    with memoryview(masked) as view:
        for mask in (*_masks(masked), len(masked)):
            for at in range(start, mask, _PART):
                with view[at : min(at + _PART, mask)] as part:
                    yield part
            start = mask + 1


def plain(masked: bytes) -> bytes:
    """Return a message's bytes, or those of its beginning."""
    return b"".join(bytes(part) for part in unmasked(masked))


def head_from(data: bytes) -> tuple[Head, int]:
    """Read the head that `data` begins with; return it and its length. FormError."""
    match = _HEAD.match(data)
    if match is None:
        raise FormError("no message of an archive begins here")
    folder, flags, received, size, masked, digest = match.groups()
    head = Head(
        unquote_to_bytes(folder).decode("utf-8", "surrogateescape"),
        tuple(flags.decode("ascii").split()),
        int(received),
        int(size),
        int(masked),
        digest.decode(),
    )
    if not head.size <= head.masked:
        raise FormError("a message's sizes contradict each other")
    return head, match.end()
