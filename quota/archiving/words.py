"""Why a mailbox could not be archived, or its mail not put back, for customer and operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

#: Codes of the panel's own, beside mailhost.archive.CODES.
UNEXPECTED, INTERRUPTED, ELSEWHERE = "unexpected", "interrupted", "elsewhere"


@dataclass(frozen=True, slots=True)
class Reason:
    """What a customer reads, and what the operator does."""

    customer: Promise
    operator: Promise


def to_customer(code: str) -> str:
    """Say to a customer why, and what he can do."""
    return str(_of(code).customer)


def to_operator(code: str) -> str:
    """Say to the operator what to look at."""
    return str(_of(code).operator)


def _of(code: str) -> Reason:
    return REASONS.get(code, REASONS[UNEXPECTED])


_we_mend = gettext_lazy(
    "Something is wrong with the directory for your archives. Nothing was lost and all mail is "
    "still in the mailbox; we are looking into it."
)

REASONS: Mapping[str, Reason] = {
    "home_missing": Reason(
        _we_mend,
        gettext_lazy(
            "The domain's home directory is missing. Make it anew with “mailhost ... check "
            "--repair”."
        ),
    ),
    "home_readonly": Reason(
        _we_mend,
        gettext_lazy("The domain's home cannot be written: look at the file system and its mount."),
    ),
    "home_full": Reason(
        gettext_lazy(
            "There is no room for the archive in your web space. Delete files there, or archives "
            "that you have downloaded; nothing was lost and all mail is still in the mailbox."
        ),
        gettext_lazy("The disk or the domain's quota of web space is full."),
    ),
    "home_unsafe": Reason(
        _we_mend,
        gettext_lazy(
            "The home, or a directory above it, is a link or another user's: an archive is written "
            "nowhere else. Put it right, owner home_uid:home_gid, mode 0750."
        ),
    ),
    "not_ours": Reason(
        gettext_lazy(
            "A file of yours in the web space has the name of the archive and is left alone. "
            "Rename or delete it."
        ),
        gettext_lazy("What lies under the archive's name was not made by us; it is left alone."),
    ),
    "mailbox_changed": Reason(
        gettext_lazy(
            "The mailbox changed while it was being archived. Nothing was lost; please try again."
        ),
        gettext_lazy("The mailbox changed meanwhile (UIDVALIDITY); the next attempt begins anew."),
    ),
    "mailbox_unreadable": Reason(
        gettext_lazy(
            "The mailbox cannot be read at the moment. Nothing was lost; we are looking into it."
        ),
        gettext_lazy(
            "Dovecot or the archiving cannot read the mailbox: see dovecot.log and the disk."
        ),
    ),
    "no_account": Reason(
        gettext_lazy("The account no longer exists on the mail server."),
        gettext_lazy("The server has no such account: compare with “manage.py reconcile”."),
    ),
    "no_archive": Reason(
        gettext_lazy("The archive's file is no longer there; it was deleted by FTP perhaps."),
        gettext_lazy("The archive's file is not in the home."),
    ),
    "archive_changed": Reason(
        gettext_lazy(
            "The archive's file is not the one we made: it was changed or replaced by FTP. "
            "Download it to see what it holds."
        ),
        gettext_lazy("The archive's size or checksum is not the recorded one."),
    ),
    "nothing_to_take": Reason(
        gettext_lazy("There was nothing to archive: the mailbox was no longer full, or empty."),
        gettext_lazy("No longer full when its turn came."),
    ),
    "no_room": Reason(
        gettext_lazy("The mail server has no space left. Nothing was lost; we see to it."),
        gettext_lazy("The disk that holds the mail is full."),
    ),
    "busy": Reason(
        gettext_lazy(
            "Something else is being done with the mailbox just now. Please try again later."
        ),
        gettext_lazy("Another process is at work on this mailbox."),
    ),
    "server_down": Reason(
        gettext_lazy("The mail server does not answer at the moment. Nothing was lost."),
        gettext_lazy("Dovecot or the server's store does not answer: see “mailhost ... status”."),
    ),
    ELSEWHERE: Reason(
        gettext_lazy("This page cannot read the file on the mail server."),
        gettext_lazy("The panel's process cannot read the homes: is it a member of home_gid?"),
    ),
    INTERRUPTED: Reason(
        gettext_lazy("It was interrupted. Nothing was lost; please try again."),
        gettext_lazy("The worker was ended meanwhile; the next run finishes what it had begun."),
    ),
    UNEXPECTED: Reason(
        gettext_lazy("It did not work, for a reason that we have to look into. Nothing was lost."),
        gettext_lazy("See the worker's log."),
    ),
}
