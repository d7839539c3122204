"""Why an archive could not be made, read, put back or removed."""

from __future__ import annotations

from mailhost.errors import HostError

#: Every reason there is. The mail is where it was before, whatever the reason.
CODES = (
    # The domain's home directory
    "home_missing",  # the domain has none on record, or it is not there
    "home_readonly",  # nothing can be written into it
    "home_full",  # no space (ENOSPC), or a disk quota
    "home_unsafe",  # a link or something that is no directory stands in its way
    # What lies in it
    "not_ours",  # something that is no archive of ours has an archive's name
    "archive_changed",  # the archive is not as it was written, or cannot be read as one
    "no_archive",  # there is none of that number or name, or it is no longer in the home
    # The mailbox
    "no_account",  # there is no such account
    "mailbox_changed",  # it is not the mailbox that it was: try again
    "mailbox_unreadable",  # its files cannot be read as Dovecot's
    "nothing_to_take",  # it holds no mail, or is not full and has to be
    "no_room",  # none of the messages has room in it
    # The server
    "busy",  # another process is at work on the account: try again
    "server_down",  # Dovecot does not answer: try again
)


class ArchiveError(HostError):
    """Why it could not be done; `code` is one of CODES, the message an English sentence."""

    def __init__(self, code: str, message: str) -> None:
        if code not in CODES:
            raise ValueError(code)
        super().__init__(message)
        self.code = code
