"""Where a message's headers, texts and attachments lie (RFC 5322, 2045, 2231).

Made for whole messages of many megabytes that may be hostile or broken: every step is linear in
the size, parts and their depth are bounded. The standard library's parser, by which
`mailhost.mailtext` reads the beginning of a message, makes an object for each line and part. What
the bytes found here say as text is that module's to tell.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from mailhost import mailtext

MOST_PARTS, MOST_DEPTH = 200, 10
#: Bytes of one header field, and of the whole head of a message or part, that are looked at.
MOST_FIELD, MOST_HEAD = 2000, 64 * 1024
#: Bytes of one text part that are looked at.
MOST_TEXT = 512 * 1024
_FIELD = re.compile(rb"^([!-9;-~]{1,60})[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no multipart: its kind, name, and where its bytes lie in the message."""

    content_type: str
    charset: str
    encoding: str
    name: str
    attached: bool
    start: int
    end: int


def fields(message: bytes, start: int = 0, end: int | None = None) -> tuple[dict[str, bytes], int]:
    """Return the first field of each name (in lower case), and where the body begins."""
    end = len(message) if end is None else end
    stop = message.find(b"\n\n", start, end)
    crlf = message.find(b"\n\r\n", start, stop if stop >= 0 else end)
    body = end if stop < 0 else stop + 2
    if crlf >= 0:
        stop, body = crlf, crlf + 3
    if message[start : start + 1] == b"\n" or message[start : start + 2] == b"\r\n":
        stop, body = start, message.index(b"\n", start) + 1
    head = message[start : min(start + MOST_HEAD, stop if stop >= 0 else end)]
    found: dict[str, bytes] = {}
    for match in _FIELD.finditer(head):
        found.setdefault(match[1].decode("ascii").lower(), match[2][:MOST_FIELD].strip())
    return found, body


def readable(value: bytes, most: int = 200) -> str:
    """Return a field's value as one line of text, its encoded words decoded."""
    return mailtext.one_line(mailtext.header_text(value[:MOST_FIELD]), most)


def parts(message: bytes) -> Iterator[Part]:
    """Yield the message's parts, multiparts left out; at most MOST_PARTS."""
    waiting = [(0, len(message), 0)]
    found = 0
    for _ in range(5 * MOST_PARTS):
        if not waiting or found == MOST_PARTS:
            return
        start, end, depth = waiting.pop()
        head, body = fields(message, start, end)
        kind = _described(head)
        boundary = _boundary(kind) if depth < MOST_DEPTH else ""
        if kind.get_content_maintype() == "multipart" and boundary:
            inside = _between(message, body, end, boundary.encode("utf-8", "surrogateescape"))
            waiting += [(first, last, depth + 1) for first, last in reversed(inside)]
        else:
            found += 1
            yield _part(head, kind, body, end)


def _described(head: dict[str, bytes]) -> Message:
    """Return what the standard library makes of a part's own fields."""
    kind = Message()
    for name in ("content-type", "content-disposition"):
        if name in head:
            kind[name] = head[name].decode("ascii", "replace").replace("\n", " ").replace("\r", " ")
    return kind


def _boundary(kind: Message) -> str:
    """Return what parts the parts, "" if there is nothing or nonsense."""
    try:
        return str(kind.get_param("boundary", ""))
    except (LookupError, ValueError, TypeError):
        # The library sorts and decodes parameters that contradict each other (RFC 2231).
        return ""


def _part(head: dict[str, bytes], kind: Message, start: int, end: int) -> Part:
    try:
        name = kind.get_filename() or ""
        charset = kind.get_content_charset() or ""
    except (LookupError, ValueError, TypeError):
        name = charset = ""
    if "content-disposition" in head and not name.isascii():
        name = name.replace("\ufffd", "")
    return Part(
        kind.get_content_type(),
        charset,
        head.get("content-transfer-encoding", b"").decode("ascii", "replace").strip().lower(),
        readable(name.encode("utf-8", "surrogateescape")),
        kind.get_content_disposition() == "attachment" or bool(name),
        start,
        end,
    )


def _between(message: bytes, start: int, end: int, boundary: bytes) -> list[tuple[int, int]]:
    """Return where the parts between the lines of a boundary lie; the last may lack its end."""
    line = b"\n--" + boundary
    found: list[tuple[int, int]] = []
    first = -1
    # The first boundary may stand at the very beginning.
    at = (
        start - 1
        if message[start - 1 : start - 1 + len(line)] == line
        else message.find(line, start, end)
    )
    while at >= 0 and len(found) < MOST_PARTS:
        if first >= 0:
            found.append((first, at))
        after = at + len(line)
        if message[after : after + 2] == b"--":
            return found
        newline = message.find(b"\n", after, end)
        if newline < 0:
            return found
        first, at = newline + 1, message.find(line, newline, end)
    if first >= 0 and len(found) < MOST_PARTS:
        found.append((first, end))
    return found


def text_from(message: bytes, part: Part) -> tuple[str, bool]:
    """Return a text part as plain text, and whether it was cut."""
    data = message[part.start : min(part.end, part.start + MOST_TEXT)]
    if part.encoding == "base64":
        data = mailtext.from_base64(data)
    elif part.encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    text, _right = mailtext.decode(data, part.charset)
    if part.content_type == "text/html":
        text = mailtext.text_of_html(text)
    return mailtext.visible(text), part.end - part.start > MOST_TEXT


def size_of(message: bytes, part: Part) -> int:
    """Return a part's bytes once decoded."""
    data = message[part.start : part.end]
    if part.encoding == "base64":
        return len(data.translate(None, _NOT_BASE64)) * 3 // 4
    if part.encoding == "quoted-printable":
        return len(binascii.a2b_qp(data))
    return len(data)
