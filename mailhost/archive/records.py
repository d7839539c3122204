"""What is told of an archive, and of putting one back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of one account's mail, as the server's record has it.

    `messages` and `mail_bytes` (the messages as stored, uncompressed) are those in the file;
    `file_bytes` and `sha256` are those of the file itself. `taken_at` is in UNIX seconds.
    `state`: "kept"; "gone", no longer in the home as it was written (deleted or replaced by FTP);
    "removed", by `remove`.
    """

    id: int
    mailbox_id: str
    account: str
    domain: str
    file_name: str
    taken_at: float
    messages: int
    mail_bytes: int
    file_bytes: int
    sha256: str
    state: str


@dataclass(slots=True)
class PutBack:
    """What became of the messages that were to be put back; the four add up to those asked for.

    `put`: they are in the mailbox now. `already`: they were in it. `no_room`: the mailbox would
    have passed its limit. `left`: not come to (the work was broken off).
    """

    put: int = 0
    already: int = 0
    no_room: int = 0
    left: int = 0
