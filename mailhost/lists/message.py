"""What a list reads in a message and writes into a member's copy; all else stays as it came.

Only the header is parsed, by the standard library; the lines of a copy are those that were
posted, so that signatures of the body (DKIM, S/MIME) stay good.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.header import Header
from email.message import Message
from email.utils import getaddresses
from itertools import islice

from mailhost.lists.leaving import member_of, token
from mailhost.records import MailingList

#: Marks what a list has sent on, whatever other lists make of List-Id.
LOOP = "X-PlusMail-List"
# Headers that are the list's own to say (RFC 2369, RFC 2919, RFC 8058), with their folded lines.
_OURS = re.compile(
    rb"^(?:List-(?:Id|Unsubscribe|Unsubscribe-Post|Post)|Precedence|Return-Path|Bcc)[ \t]*:"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.IGNORECASE | re.MULTILINE,
)
#: Bytes and parts of a notification that are looked at; one has a few hundred and three.
MOST_HEADER, MOST_STATUS, MOST_PARTS = 64 * 1024, 256 * 1024, 10
_BLANK = re.compile(rb"\r?\n(?:[ \t]*\r?\n)+")
_RECEIVED = re.compile(rb"\AReceived:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return a message's header, its last line end included, and what follows it."""
    for number, line in _lines(content):
        if line in (b"\n", b"\r\n"):
            return content[:number], content[number:]
    return content, b""


def _lines(content: bytes) -> list[tuple[int, bytes]]:
    found, start = [], 0
    while start < len(content):
        end = content.find(b"\n", start) + 1 or len(content)
        found.append((start, content[start:end]))
        if content[start:end] in (b"\n", b"\r\n"):
            break
        start = end
    return found


def header_of(content: bytes) -> Message:
    """Return the parsed header alone."""
    return message_from_bytes(split(content)[0], policy=policy.compat32)


def size(content: bytes) -> int:
    """Return how long the message was when it came: without our own Received line, in bytes."""
    return len(content) - len(match[0] if (match := _RECEIVED.match(content)) else b"")


def authors(header: Message) -> list[str]:
    """Return the addresses of the header's From lines, in lower case."""
    values = [str(value) for value in header.get_all("From", [])]
    return [address.lower() for _, address in getaddresses(values) if address]


def has_passed(header: Message, list_address: str) -> bool:
    """Say whether this list has sent the message on before."""
    marks = [str(value).strip().lower() for value in header.get_all(LOOP, [])]
    ids = [str(value).lower() for value in header.get_all("List-Id", [])]
    return list_address in marks or any(list_id(list_address) in text for text in ids)


def is_automatic(header: Message) -> bool:
    """Say whether a program wrote the message by itself (RFC 3834, section 5)."""
    word = str(header.get("Auto-Submitted", "no")).partition(";")[0].strip().lower()
    return word != "no" or header.get_content_type() == "multipart/report"


def list_id(address: str) -> str:
    """Return the list's List-Id in its angle brackets (RFC 2919)."""
    return f"<{address.replace('@', '.')}>"


def for_member(content: bytes, mailing_list: MailingList, member: str) -> bytes:
    """Return a member's copy: the list's own headers anew, all else byte for byte."""
    header, body = split(content)
    newline = b"\r\n" if b"\r\n" in header else b"\n"
    title = Header(mailing_list.title, "utf-8", 60, "List-Id").encode()
    if mailing_list.title.isascii():
        title = '"' + mailing_list.title.replace("\\", "\\\\").replace('"', '\\"') + '"'
    own = [
        f"{LOOP}: {mailing_list.address}",
        f"List-Id: {title} {list_id(mailing_list.address)}",
        f"List-Post: <mailto:{mailing_list.address}>",
        "Precedence: list",
    ]
    if mailing_list.leave_url and mailing_list.leave_key:
        link = f"{mailing_list.leave_url}/{token(mailing_list.leave_key, member)}"
        own += [
            f"List-Unsubscribe: <{link}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ]
    lines = "\n".join(own).replace("\n", newline.decode()).encode() + newline
    return lines + _OURS.sub(b"", header) + body


def returned_member(content: bytes, leave_key: str) -> str:
    """Return the member, in lower case, whose copy came back for good, or "".

    It is a delivery status notification (RFC 3464) with the copy, or its header. Anybody can send
    one, so the address that it names proves nothing. What does is the link to leave in the copy's
    header, which the list has signed for this member, and which only he was sent: who has that
    could take him off the list as well.
    """
    has_failed, member = False, ""
    for kind, part in _parts(content):
        if kind == "message/delivery-status":
            has_failed = any(_is_failure(block) for block in _BLANK.split(part))
        elif kind in ("message/rfc822", "text/rfc822-headers") and leave_key:
            link = str(header_of(part[:MOST_HEADER]).get("List-Unsubscribe", ""))
            # A header may have been folded anew anywhere.
            signed = "".join(link.split()).rpartition("/")[2].rstrip(">")
            member = member_of(leave_key, signed) or ""
    return member if has_failed else ""


def _parts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the kinds of a notification's own parts and the beginnings of what they hold.

    It is not parsed as a whole, which takes minutes where parts are nested deeply.
    """
    header, body = split(content)
    boundary = message_from_bytes(header[:MOST_HEADER], policy=policy.compat32).get_boundary()
    if not boundary:
        return
    mark = b"\n--" + boundary.encode("ascii", "replace")
    for part in islice((b"\n" + body).split(mark, MOST_PARTS), 1, None):
        own, held = split(part.partition(b"\n")[2][:MOST_STATUS])
        yield header_of(own).get_content_type(), held.lstrip(b"\r\n")


def _is_failure(block: bytes) -> bool:
    """Say whether a block of a delivery status tells of somebody whom mail cannot reach."""
    fields = message_from_bytes(block.strip() + b"\n", policy=policy.compat32)
    return str(fields.get("Action", "")).strip().lower() == "failed"
