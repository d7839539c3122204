"""A message's headers, text and attachments, for showing (RFC 5322, 2045 to 2047, 2231).

Made for mail that may be hostile or broken: every step is linear in the message's size, parts and
their depth are bounded, nothing is guessed beyond what is needed to show some text. The standard
library's parser builds an object for each part, and calls itself for each level.
"""

from __future__ import annotations

import binascii
import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header
from email.message import Message

MOST_PARTS, MOST_DEPTH = 200, 10
#: Bytes of one header field, and of the whole head of a message or part, that are looked at.
MOST_FIELD, MOST_HEAD = 2000, 64 * 1024
#: Bytes of one text part that are looked at.
MOST_TEXT = 512 * 1024
_FIELD = re.compile(rb"^([!-9;-~]{1,60})[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
# Others of Python's codecs are no charsets, or take quadratic time.
_CHARSETS = re.compile(
    r"\A(?:utf-8|utf-16|utf-32|utf-16-[bl]e|utf-32-[bl]e|ascii|iso8859-\d+|iso2022_\w+|cp\d+|euc_\w+"
    r"|shift_jis\w*|gb\w+|hz|big5\w*|koi8-\w+|johab|tis-620|mac-\w+)\Z"
)
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_TAG = re.compile(r"/?([A-Za-z][A-Za-z0-9]{0,15})")
_BREAKS = frozenset(
    "article blockquote br dd div dt h1 h2 h3 h4 h5 h6 hr li ol p pre section table tr ul".split()  # noqa: SIM905
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
    value = value[:MOST_FIELD].replace(b"\r", b"").replace(b"\n", b"")
    if b"=?" not in value:
        return clean(decoded(value, ""), most)
    try:
        words = decode_header(value.decode("ascii", "surrogateescape"))
    except (ValueError, binascii.Error):
        return clean(decoded(value, ""), most)
    text = "".join(
        word if isinstance(word, str) else decoded(word, charset or "") for word, charset in words
    )
    return clean(text, most)


def decoded(data: bytes, charset: str) -> str:
    """Return bytes as text by this charset or, where that is none or wrong, by the likeliest."""
    try:
        codec = codecs.lookup(charset).name if charset else ""
    except (LookupError, ValueError):
        codec = ""
    if codec and _CHARSETS.match(codec) and codec != "ascii":
        return data.decode(codec, "replace")
    if b"\x1b$" in data or b"\x1b(" in data:
        return data.decode("iso2022_jp", "replace")
    for likely in ("utf-8", "cp932", "euc_jp"):
        try:
            return data.decode(likely)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")


def clean(text: str, most: int) -> str:
    """Return text as one line without control characters, cut at `most` characters."""
    text = _CONTROL.sub("", " ".join(text[: most * 20].split()))
    return text if len(text) <= most else text[: most - 1] + "…"


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
        boundary = str(kind.get_param("boundary", "")) if depth < MOST_DEPTH else ""
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
        data = _base64(data)
    elif part.encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    text = decoded(data, part.charset)
    if part.content_type == "text/html":
        text = from_html(text)
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text, part.end - part.start > MOST_TEXT


def size_of(message: bytes, part: Part) -> int:
    """Return a part's bytes once decoded."""
    data = message[part.start : part.end]
    if part.encoding == "base64":
        return len(data.translate(None, _NOT_BASE64)) * 3 // 4
    if part.encoding == "quoted-printable":
        return len(binascii.a2b_qp(data))
    return len(data)


def _base64(data: bytes) -> bytes:
    data = data.translate(None, _NOT_BASE64)
    rest = len(data) % 4
    data = data[: len(data) - rest] if rest == 1 else data + b"=" * (-len(data) % 4)
    return binascii.a2b_base64(data)


def from_html(text: str) -> str:
    """Return what a page says, roughly: its text without tags, in lines."""
    out: list[str] = []
    at = 0
    while (start := text.find("<", at)) >= 0:
        out.append(text[at:start])
        if text.startswith("<!--", start):
            end = text.find("-->", start + 4)
            at = end + 3
        else:
            end = text.find(">", start)
            at = end + 1
        if end < 0:
            at = len(text)
            break
        tag = _TAG.match(text, start + 1)
        name = tag[1].lower() if tag else ""
        if name in _BREAKS:
            out.append("\n")
        elif name in ("script", "style", "title") and text[start + 1] != "/":
            at = _past(text, at, f"</{name}")
    out.append(text[at:])
    lines = (" ".join(line.split()) for line in html.unescape("".join(out)).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _past(text: str, at: int, closing: str) -> int:
    """Return where a tag's content ends that is no text of the page."""
    match = re.compile(re.escape(closing), re.IGNORECASE).search(text, at)
    end = text.find(">", match.end()) if match else -1
    return end + 1 if end >= 0 else len(text)
