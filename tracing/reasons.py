"""Why a message was refused, by what the mail server's log has of it."""

from __future__ import annotations

import enum

from django.utils.translation import gettext as _

from mailhost.events.reading import EXPIRED
from mailhost.policy.texts import reason_in
from quota.models import Refusal
from quota.words import reason_of as words_of_refusal
from tracing.models import MailEvent


class Reason(enum.StrEnum):
    """Kinds of reasons that something can be done about."""

    UNKNOWN = "unknown"
    FULL = "full"
    LIMIT = "limit"
    TOO_LARGE = "too-large"
    EXPIRED = "expired"
    OTHER = "other"


# Of mailhost.policy.texts.REFUSALS.
_LIMITS = ("message-recipients", "day-recipients", "domain-recipients")
_SIZES = ("size", "list-size")
# Of an event's `relay`: it did not get to another server.
_OURS = ("", "mailbox", "list")
# RFC 3463: bad mailbox, full, too large for the system or the mailbox.
_BY_CODE = {"1.1": Reason.UNKNOWN, "2.2": Reason.FULL, "3.4": Reason.TOO_LARGE}


def reason_of(event: MailEvent) -> Reason:
    """Return the kind of reason."""
    if event.code == EXPIRED:
        return Reason.EXPIRED
    ours, _figures = reason_in(event.reason)
    if ours in _LIMITS:
        return Reason.LIMIT
    if ours in _SIZES:
        return Reason.TOO_LARGE
    return _BY_CODE.get(event.code.partition(".")[2], Reason.OTHER)


def words_of(event: MailEvent) -> str:
    """Say in the reader's language why; "" where only the other server's own words tell."""
    if event.code == EXPIRED:
        return _("It could not be delivered within 8 days.")
    ours, figures = reason_in(event.reason)
    # Of a full mailbox the daemon's words are for the sender.
    if ours and ours != "full":
        limit, reached = (_number(figures.get(name, "")) for name in ("limit", "reached"))
        return words_of_refusal(Refusal(reason=ours, limit=limit, reached=reached))
    reason = reason_of(event)
    if reason == Reason.UNKNOWN:
        if event.relay in _OURS:
            return _("There was no such address.")
        return _("The receiving server does not know the address.")
    if reason == Reason.FULL:
        return _("The mailbox was full.")
    if reason == Reason.TOO_LARGE:
        return _("The message was too large.")
    return ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
