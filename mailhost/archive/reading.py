"""Looking into an archive without a mail program, for the panel's web process.

It works on the file alone: no root, no Dovecot, no record. The file lies where the customer can
write by FTP, so it may hold anything: what is decompressed, kept and spent is bounded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mailhost import homes, mailtext
from mailhost.archive import files, mbox, mime
from mailhost.archive.errors import ArchiveError
from mailhost.archive.scanning import Scanner

#: What is decompressed for one page at most, and for how long: a gzip bomb of 10 MB holds 10 GB.
MOST_BYTES, MOST_SECONDS = 4 << 30, 10.0
#: Messages on one page.
MOST_ENTRIES = 200
#: Bytes of one message, and characters of its text, that are looked at.
MOST_MESSAGE, MOST_TEXT = 16 << 20, 100_000
_SHOWN = ("From", "To", "Cc", "Date", "Subject")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of an archive, for a list. `number` counts from 1, `size` is in bytes.

    Texts are decoded, without control characters, and cut at 200 characters. `flags` are
    Dovecot's, such as "\\\\Seen \\\\Flagged".
    """

    number: int
    folder: str
    date: datetime | None
    sender: str
    recipients: str
    subject: str
    size: int
    flags: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of a message that is not shown. `size` is its bytes, decoded."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Text:
    """One message as it can be shown; nothing in it is HTML.

    `headers` are those shown, as (name, value) in the message's order: From, To, Cc, Date,
    Subject. `cut`: there is more text than `body` holds.
    """

    entry: Entry
    headers: tuple[tuple[str, str], ...]
    body: str
    attachments: tuple[Attachment, ...]
    cut: bool


def open_archive(homes_root: Path, home: str, file_name: str) -> BinaryIO:
    """Open an archive for reading.

    `home` is the domain's (the panel's Domain.home), below the server's homes. No link is followed,
    only a regular file with an archive's name is opened. ArchiveError: "no_archive", "not_ours",
    "home_missing", "home_unsafe", "home_readonly" (this process may not look into the home).
    """
    if homes.account_of(file_name) is None:
        raise ArchiveError("no_archive", f"{file_name!a} is not the name of an archive.")
    with files.home_of(homes_root, home) as directory:
        try:
            found = os.stat(file_name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            raise ArchiveError("no_archive", f"{file_name} is not in the home.") from None
        descriptor = files.opened(directory, file_name)
        if descriptor is None:
            raise ArchiveError("not_ours", f"{file_name} is no file, but something else.")
        # Another name of the file may lie where its owner is not this home's.
        if found.st_nlink != 1 or os.fstat(descriptor).st_nlink != 1:
            os.close(descriptor)
            raise ArchiveError("not_ours", f"{file_name} has another name elsewhere.")
        return os.fdopen(descriptor, "rb")


def entries(file: BinaryIO, first: int = 1, count: int = 50) -> tuple[list[Entry], bool]:
    """Return the messages from number `first` on, at most `count`, and whether more follow.

    ArchiveError "archive_changed" where the file is no archive of ours from some message on, or
    holds more than may be decompressed for a page.
    """
    found: list[Entry] = []
    count = min(count, MOST_ENTRIES)
    with _form_errors():
        scanner, number = _scanner(file), 0
        while head := scanner.next():
            number += 1
            if len(found) == count:
                return found, True
            if number >= first:
                found.append(_entry(number, head, mbox.plain(scanner.read(mime.MOST_HEAD))))
    return found, False


def text_of(file: BinaryIO, number: int) -> Text:
    """Return one message's text; ArchiveError "no_archive" if there is none of that number."""
    with _form_errors():
        scanner = _scanner(file)
        head = None
        for _ in range(number):
            head = scanner.next()
            if head is None:
                break
        if head is None:
            raise ArchiveError("no_archive", f"The archive holds no message {number}.")
        message = mbox.plain(scanner.read(MOST_MESSAGE))
    return _text(_entry(number, head, message), message, cut=head.masked > MOST_MESSAGE)


def _scanner(file: BinaryIO) -> Scanner:
    return Scanner(file, most_bytes=MOST_BYTES, seconds=MOST_SECONDS)


def _entry(number: int, head: mbox.Head, message: bytes) -> Entry:
    found, _ = mime.fields(message)

    def line(name: str) -> str:
        return mime.readable(found.get(name, b""))

    return Entry(
        number=number,
        folder=mailtext.one_line(head.folder, 200),
        date=_date(head.received),
        sender=line("from"),
        recipients=line("to"),
        subject=line("subject"),
        size=head.size,
        flags=mailtext.one_line(" ".join(head.flags), 200),
    )


def _date(received: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(received, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _text(entry: Entry, message: bytes, *, cut: bool) -> Text:
    found, _ = mime.fields(message)
    headers = [
        (name, mime.readable(found[name.lower()], 1000)) for name in _SHOWN if name.lower() in found
    ]
    inside = list(mime.parts(message))
    shown = [part for part in inside if part.content_type == "text/plain" and not part.attached]
    shown = (
        shown
        or [part for part in inside if part.content_type == "text/html" and not part.attached][:1]
    )
    texts: list[str] = []
    for part in shown:
        text, part_cut = mime.text_from(message, part)
        texts.append(text)
        cut = cut or part_cut
        if sum(map(len, texts)) > MOST_TEXT:
            break
    body = "\n".join(texts)
    others = (part for part in inside if part not in shown and _is_attachment(part, bool(shown)))
    attachments = tuple(
        Attachment(
            part.name, mailtext.one_line(part.content_type, 100), mime.size_of(message, part)
        )
        for part in others
    )
    return Text(entry, tuple(headers), body[:MOST_TEXT], attachments, cut or len(body) > MOST_TEXT)


def _is_attachment(part: mime.Part, text_shown: bool) -> bool:
    """Say whether a part that is not shown is more than another form of the text that is."""
    return part.attached or not text_shown or part.content_type != "text/html"


@contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except mbox.FormError as error:
        text = f"The file is not as it was archived, or cannot be looked through: {error}."
        raise ArchiveError("archive_changed", text) from error
