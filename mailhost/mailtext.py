"""Mail as text that is safe to look at, whatever a message holds: nothing here raises for content.

Messages that stop mail programs are just those that break the rules (RFC 5322, 2045 to 2047), so
each step has an answer for what it cannot read. The result is plain text for a page that escapes
it; what would move the cursor, turn the writing round or end a string is shown as a sign instead.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import compat32

#: Multiparts in one message that are still read; each costs time for every line.
MOST_MULTIPARTS = 30
#: Parts of a message that are looked at.
MOST_PARTS = 100
#: Characters of text and of HTML that are read for showing.
MOST_TEXT = 200_000

# The character sets of mail. Python knows others that are no such thing, or costly to decode.
_CODECS = {
    "us-ascii": "ascii",
    "ascii": "ascii",
    "utf8": "utf-8",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "cp932": "cp932",
    "euc-jp": "euc_jp",
    "x-euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-jp-ms": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
}
_KNOWN = re.compile(
    r"\A(?:utf-?(?:7|8|16|16le|16be|32)|iso-?8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]"
    r"|iso-2022-(?:jp(?:-[123]|-ext|-2004)?|kr)|euc-kr|cp949|big5(?:-hkscs)?|gb18030|hz-gb-2312"
    r"|tis-620|macintosh)\Z"
)
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_BETWEEN = re.compile(r"\A[ \t\r\n]+\Z")
_ESCAPE = re.compile(rb"\x1b(?:\$[@B]|\$\([DOPQ]|\([BJI])")
_LANGUAGE = re.compile(r"\*.*\Z")
_TAG_BREAKS = re.compile(r"\A(?:br|p|div|tr|li|h[1-6]|table|[uo]l|hr|blockquote|pre)\Z")
_TAG_UNREAD = frozenset(["script", "style", "title", "template", "noscript"])

_CHARSET = re.compile(rb"charset=\s*[\"']?([^\"';\s]{1,60})")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_CONTINUED = bytes(range(0x80, 0x100))
_LIKE_ASCII = {"ascii", "utf-8", "cp932", "euc_jp", "iso2022_jp_ext", "iso8859-1", "cp1252"}
# Where reading stopped, everything is left open.
_OF_THE_CUT = {
    "MultipartInvariantViolationDefect",
    "CloseBoundaryNotFoundDefect",
    "StartBoundaryNotFoundDefect",
    "InvalidBase64PaddingDefect",
    "InvalidBase64LengthDefect",
}

_SIGNS: dict[int, str] = {
    **{number: chr(0x2400 + number) for number in range(0x20)},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    # What turns the direction of writing would show one thing as another.
    **dict.fromkeys(
        [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"
    ),
    **dict.fromkeys([0x2028, 0x2029], "\n"),
    **dict.fromkeys([0xFFFE, 0xFFFF], "\ufffd"),
}
del _SIGNS[0x09], _SIGNS[0x0A]
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message that is not shown as its text. `size`: decoded bytes, None: not known."""

    name: str
    content_type: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Text:
    """One message as it can be shown.

    `headers` are From, To, Cc, Date and Subject, as far as there are any.
    """

    headers: tuple[tuple[str, str], ...]
    body: str
    from_html: bool
    parts: tuple[Part, ...]
    cut: bool


# One text


def visible(text: str) -> str:
    """Return `text` with a sign for each character that is none to look at; lines and tabs stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", text.translate(_SIGNS))


def one_line(text: str, most: int = 200) -> str:
    """Return `text` in one line of at most `most` characters."""
    line = " ".join(visible(text[: most * 4]).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def codec_of(label: str) -> str | None:
    """Return Python's codec for the character set of a message; None for what is none."""
    name = _LANGUAGE.sub("", label.strip().strip("\"'").lower())
    if name in _CODECS:
        return _CODECS[name]
    if not _KNOWN.match(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def decode(data: bytes, label: str = "") -> tuple[str, bool]:
    """Return text, and whether it is what its label says. Without a label it is guessed."""
    codec = codec_of(label) if label else None
    # Strange enough for a codec's own mistakes (CPython has had some): they are no text either.
    if codec is not None:
        try:
            return data.decode(codec), True
        except (ValueError, OverflowError):
            pass
    return _guessed(data, codec), not label and data.isascii()


def _guessed(data: bytes, codec: str | None) -> str:
    candidates = ["utf-8", "cp932", "euc_jp"]
    if b"\x1b" in data and data.isascii():
        candidates.insert(0, "iso2022_jp_ext")
    for candidate in candidates:
        try:
            return data.decode(candidate)
        except ValueError:
            continue
    return data.decode(codec or "utf-8", "replace")


def unclosed(data: bytes) -> bool:
    """Say whether a line of ISO-2022-JP ends before it has gone back to ASCII (RFC 1468)."""
    if b"\x1b$" not in data:
        return False
    for line in data.split(b"\n"):
        if b"\x1b$" not in line:
            continue
        escapes = _ESCAPE.findall(line)
        if escapes and escapes[-1] not in (b"\x1b(B", b"\x1b(J"):
            return True
    return False


# Headers


def headers_of(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the headers at the beginning of `data`: name in lower case, and the value unfolded."""
    name, value = "", b""
    for line in data.split(b"\n"):
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t") and name:
            value += b" " + line.strip()
            continue
        if name:
            yield name, value
        if not line:
            return
        label, colon, value = line.partition(b":")
        value = value.strip()
        name = label.strip().lower().decode("latin-1") if colon else ""
    if name:
        yield name, value


def header(data: bytes, wanted: str) -> bytes:
    """Return a header's value as it stands in the message, b"" if there is none."""
    return next((value for name, value in headers_of(data) if name == wanted), b"")


def header_text(value: bytes) -> str:
    """Return a header in letters: encoded words (RFC 2047) decoded, and bytes that nobody named."""
    return header_read(value)[0]


def header_read(value: bytes) -> tuple[str, bool]:
    """Return a header in letters, and whether all of it was what it said to be."""
    pieces: list[tuple[bytes, str | None]] = []
    position, text = 0, value.decode("latin-1")
    for word in _WORD.finditer(text):
        between = text[position : word.start()]
        if between and not (_BETWEEN.match(between) and pieces and pieces[-1][1] is not None):
            pieces.append((between.encode("latin-1"), None))
        raw, charset = _word_bytes(word[2], word[3]), word[1].lower()
        # A letter may have been cut in two at the end of a word.
        if pieces and pieces[-1][1] == charset and codec_of(charset) != "iso2022_jp_ext":
            raw = pieces.pop()[0] + raw
        pieces.append((raw, charset))
        position = word.end()
    pieces.append((text[position:].encode("latin-1"), None))
    good, found = True, []
    for raw, charset in pieces:
        letters, right = decode(raw, charset or "")
        if charset is None:
            right = raw.isascii() or _is_utf8(raw)
        good = good and right and not unclosed(raw)
        found.append(letters)
    return "".join(found), good


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("latin-1", "replace")
    if encoding in "qQ":
        return quopri.decodestring(raw.replace(b"_", b" "), header=True)
    return from_base64(raw)


def from_base64(raw: bytes) -> bytes:
    """Decode what can be decoded of base64; what is no letter of it is passed over."""
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    clean = clean[: len(clean) - 1] if len(clean) % 4 == 1 else clean
    try:
        return base64.b64decode(clean + b"=" * (-len(clean) % 4))
    except (binascii.Error, ValueError):
        return b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except ValueError:
        return False
    return True


# A whole message


def read(data: bytes, *, whole: bool = True) -> Text:
    """Read a message, or with `whole` False the beginning of one."""
    shown = []
    for wanted in ("from", "to", "cc", "date", "subject"):
        if value := header(data, wanted):
            shown.append((wanted.capitalize(), one_line(header_text(value[:8000]), 500)))
    message = _parsed(data)
    if message is None:
        body, _ = decode(data.partition(b"\n\n")[2] or data.partition(b"\r\n\r\n")[2])
        text = visible(body[:MOST_TEXT])
        return Text(tuple(shown), text, False, (), not whole)
    chosen, parts, _labels = _chosen(message, whole)
    body, cut, from_html = _body(chosen)
    return Text(tuple(shown), body, from_html, tuple(parts), cut or not whole)


def troubles(data: bytes, *, whole: bool = True) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what does not fit in a message: character sets, and defects by email.errors' names."""
    if not whole and not _END_OF_HEADERS.search(data):
        return (), ()
    kind = header(data, "content-type").lower()
    encoding = header(data, "content-transfer-encoding").lower()
    simple = not kind.startswith((b"multipart/", b"message/")) and data[:1] not in (b" ", b"\t")
    if simple and encoding in (b"", b"7bit", b"8bit"):
        return _simple_troubles(data, kind, whole), ()
    message = _parsed(data)
    if message is None:
        return (), ("TooManyParts",)
    _shown, _parts, labels = _chosen(message, whole)
    defects = {type(defect).__name__ for part in _walk(message) for defect in part.defects}
    return tuple(labels), tuple(sorted(defects if whole else defects - _OF_THE_CUT))


def _simple_troubles(data: bytes, kind: bytes, whole: bool) -> tuple[str, ...]:
    """Return the character set that does not fit, of text as it stands: most mail is that."""
    if kind and not kind.startswith(b"text/"):
        return ()
    found = _CHARSET.search(kind)
    label = found[1].decode("latin-1") if found else ""
    body = _END_OF_HEADERS.split(data, maxsplit=1)[-1]
    if body.isascii() and b"\x1b" not in body and (not label or codec_of(label) in _LIKE_ASCII):
        return ()
    right = (decode(body, label) if whole else _decode_begun(body, label))[1]
    if right or (not label and _is_utf8(body.rstrip(_CONTINUED) if not whole else body)):
        return ()
    return (one_line(label, 40),)


def first_lines(data: bytes, count: int) -> tuple[str, bool]:
    """Return the headers and the first `count` lines of the body, as POP3's TOP; and if cut."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    end = next((number for number, line in enumerate(lines) if not line), len(lines))
    kept = lines[: end + 1 + count]
    text, _ = decode(b"\n".join(kept))
    return visible(text[:MOST_TEXT]), len(lines) > len(kept) or len(text) > MOST_TEXT


def _parsed(data: bytes) -> Message | None:
    if len(re.findall(rb"(?i)content-type:\s*(?:multipart|message)/", data)) > MOST_MULTIPARTS:
        return None
    try:
        return message_from_bytes(data, policy=compat32)
    except Exception:  # whatever the parser stumbles over: the message is shown without it
        return None


def _walk(message: Message) -> Iterator[Message]:
    for number, part in enumerate(message.walk()):
        if number == MOST_PARTS:
            return
        yield part


def _chosen(message: Message, whole: bool) -> tuple[tuple[str, bool] | None, list[Part], list[str]]:
    """Return the text to show (and if it is HTML), the other parts, the labels that do not fit."""
    best: tuple[str, bool] | None = None
    parts, labels = [], []
    for part in _walk(message):
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        attached = "attachment" in str(part.get("Content-Disposition", "")).lower()
        is_text = kind in ("text/plain", "text/html") and not attached
        data = _payload(part)
        if is_text:
            label = _charset(part)
            text, right = decode(data, label) if whole else _decode_begun(data, label)
            if not right and (label or not _is_utf8(data)):
                labels.append(one_line(label, 40))
            # Plain text before HTML; of two the first.
            if best is None or (best[1] and kind == "text/plain"):
                best = (text, kind == "text/html")
                continue
        parts.append(Part(_name(part), one_line(kind, 60), len(data) if whole else None))
    return best, parts, labels


def _decode_begun(data: bytes, label: str) -> tuple[str, bool]:
    """Decode text that may end within a letter."""
    for end in range(4):
        found = decode(data[: len(data) - end], label)
        if found[1]:
            return found
    return decode(data, label)


def _payload(part: Message) -> bytes:
    try:
        found = part.get_payload(decode=True)
    except Exception:  # a transfer encoding that cannot be undone
        found = str(part.get_payload()).encode("utf-8", "surrogateescape")
    return found if isinstance(found, bytes) else b""


def _charset(part: Message) -> str:
    try:
        return str(part.get_param("charset", "") or "")
    except Exception:  # parameters that email cannot take apart
        return ""


def _name(part: Message) -> str:
    try:
        name = part.get_filename("") or ""
        return one_line(header_text(name.encode("utf-8", "surrogateescape")), 100)
    except Exception:  # parameters that email cannot take apart
        return ""


def _body(chosen: tuple[str, bool] | None) -> tuple[str, bool, bool]:
    if chosen is None:
        return "", False, False
    text, is_html = chosen
    cut = len(text) > MOST_TEXT
    text = text[:MOST_TEXT]
    return visible(text_of_html(text) if is_html else text).strip("\n"), cut, is_html


def text_of_html(source: str) -> str:
    """Return the text of HTML, roughly: tags out, scripts and styles too. Time grows with length.

    What comes out may still look like HTML: it is text, and a page has to escape it.
    """
    found: list[str] = []
    unread = ""
    first, *pieces = _without_comments(source).split("<")
    found.append(first)
    for piece in pieces:
        tag, closed, rest = piece.partition(">")
        name = re.match(r"/?\s*([A-Za-z][A-Za-z0-9]*)", tag)
        if name is None and not tag.startswith(("!", "?", "/")):
            found.append("" if unread else "<" + piece)
            continue
        word = name[1].lower() if name else ""
        if unread:
            if word == unread and tag.startswith("/"):
                unread = ""
            else:
                continue
        elif word in _TAG_UNREAD and not tag.startswith("/"):
            unread = word
            continue
        if _TAG_BREAKS.match(word):
            found.append("\n")
        found.append(re.sub(r"\s+", " ", rest) if closed else "")
    text = html.unescape("".join(found))
    return re.sub(r"\n\s*\n\s*\n+", "\n\n", text).strip()


def _without_comments(source: str) -> str:
    kept, position = [], 0
    while (start := source.find("<!--", position)) >= 0:
        end = source.find("-->", start + 4)
        kept.append(source[position:start])
        if end < 0:
            return "".join(kept)
        position = end + 3
    return "".join([*kept, source[position:]])
