"""Looking into an archive without a mail program, for the panel's web process.

It works on the file alone: no root, no Dovecot, no record. The file lies where the customer can
write by FTP, so it may hold anything: what is decompressed, kept and spent is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO


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
    only a regular file with an archive's name is opened. ArchiveError: "no_archive",
    "home_missing", "home_unsafe", "not_ours".
    """
    raise NotImplementedError


def entries(file: BinaryIO, first: int = 1, count: int = 50) -> tuple[list[Entry], bool]:
    """Return the messages from number `first` on, at most `count`, and whether more follow.

    ArchiveError "archive_changed" where the file is no archive of ours from some message on, or
    holds more than may be decompressed for a page.
    """
    raise NotImplementedError


def text_of(file: BinaryIO, number: int) -> Text:
    """Return one message's text; ArchiveError "no_archive" if there is none of that number."""
    raise NotImplementedError
