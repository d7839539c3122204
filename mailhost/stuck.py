"""What in a message may stop a mail program: its size, and what breaks the rules (manual, 4).

A message that a program cannot finish keeps all that came after it from being received.
"""

from __future__ import annotations

import re

from mailhost import mailtext

#: Bytes from which a message is called large, and from which it may be why receiving stops. An
#: account's own mail has at most 3 MB (manual, 5-7).
LARGE, STUCK = 1024 * 1024, 3 * 1024 * 1024
#: Characters of a line (RFC 5322, 2.1.1), without its end.
LONGEST_LINE = 998
#: Bytes of headers.
MOST_HEADERS = 64 * 1024

#: Every defect there is, the plainest first.
DEFECTS = ("size", "control", "unclosed", "charset", "mime", "line", "header")

# All but tab, the two that end a line, form feed, and ESC, which ISO-2022-JP needs.
_CONTROL = bytes({*range(0x20), 0x7F} - {*b"\t\r\n\f\x1b"})
# IMAP shows NUL as 0x80 (Dovecot does so): no text in UTF-8, Shift_JIS or EUC has it after ASCII.
_NUL = re.compile(rb"(?:\A|[\x00-\x7f])\x80")
_WESTERN = re.compile(rb"(?i)charset=\"?(?:windows|cp)-?125")
_BROKEN = {
    "NoBoundaryInMultipartDefect",
    "StartBoundaryNotFoundDefect",
    "CloseBoundaryNotFoundDefect",
    "FirstHeaderLineIsContinuationDefect",
    "MisplacedEnvelopeHeaderDefect",
    "MissingHeaderBodySeparatorDefect",
    "MultipartInvariantViolationDefect",
    "InvalidMultipartContentTransferEncodingDefect",
    "InvalidBase64CharactersDefect",
    "InvalidBase64PaddingDefect",
    "InvalidBase64LengthDefect",
    "MalformedHeaderDefect",
    "TooManyParts",
}


def defects_of(data: bytes, size: int, *, binary: bool = False) -> tuple[str, ...]:
    """Return which of DEFECTS a message has, as far as `data`, its beginning, shows.

    `size` is the whole message's. With `binary` False a byte 0x80 stands for NUL, as over IMAP.
    """
    whole = len(data) >= size
    if not whole:
        # Cut between the two that end a line.
        data = data.rstrip(b"\r")
    head = data.partition(b"\r\n\r\n")[0].partition(b"\n\n")[0]
    found = set()
    if size >= STUCK:
        found.add("size")
    if _has_control(data, binary):
        found.add("control")
    if any(len(line) > LONGEST_LINE + 1 for line in data.split(b"\n")):
        found.add("line")
    if mailtext.unclosed(data):
        found.add("unclosed")
    if len(head) > MOST_HEADERS or not _readable(head):
        found.add("header")
    found |= _of_content(data, whole)
    return tuple(name for name in DEFECTS if name in found)


def _has_control(data: bytes, binary: bool) -> bool:
    if len(data.translate(None, _CONTROL)) != len(data) or data.count(b"\r") != data.count(b"\r\n"):
        return True
    if binary or b"\x80" not in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # Not of a letter at the end that was cut.
        return error.start < len(data) - 3 and bool(_NUL.search(data)) and not _WESTERN.search(data)
    return False


def _readable(head: bytes) -> bool:
    if head.isascii() and b"=?" not in head:
        return True
    return all(
        mailtext.header_read(value)[1]
        for _name, value in mailtext.headers_of(head)
        if b"=?" in value or not value.isascii()
    )


def _of_content(data: bytes, whole: bool) -> set[str]:
    labels, defects = mailtext.troubles(data, whole=whole)
    found = set()
    if labels:
        found.add("charset")
    if _BROKEN & set(defects):
        found.add("mime")
    return found
