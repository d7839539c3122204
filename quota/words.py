"""What figures and refusals mean, in words for customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.utils.translation import gettext as _

from mailhost.policy.texts import size
from quota.models import Refusal


def number(count: int) -> str:
    """Return a number as both languages write it: 1,000."""
    return f"{count:,}"


def bytes_of(count: int) -> str:
    """Return bytes in the manual's units: 1 MB is 1,048,576 and 1 KB 1,024 bytes."""
    return size(count) if count >= 1024 else _("%(count)d bytes") % {"count": count}


def reason_of(refusal: Refusal) -> str:
    """Say why it was refused, and what helps."""
    words = _REASONS.get(refusal.reason)
    return words(refusal) if words else _("Refused for the reason “%s”.") % refusal.reason


def _sender(refusal: Refusal) -> str:
    return _(
        "The sender's address was none of this account's. Use the account's own address, or a "
        "forwarding address of your domains that leads to it."
    )


def _no_login(refusal: Refusal) -> str:
    return _("Mail had not been received first. Receive your mail, then send.")


def _null_sender(refusal: Refusal) -> str:
    return _("A message without a sender, such as a read receipt, may have 1 recipient only.")


def _message_recipients(refusal: Refusal) -> str:
    return _(
        "The message had more than %(limit)s recipients. Split it into several, each to at most "
        "%(limit)s."
    ) % {"limit": number(refusal.limit)}


def _day_recipients(refusal: Refusal) -> str:
    return _(
        "The account's %(limit)s recipients of that day were used up (%(reached)s). The count "
        "starts anew at 0:00."
    ) % _figures(refusal)


def _domain_recipients(refusal: Refusal) -> str:
    return _(
        "The %(limit)s recipients a day of the whole domain were used up (%(reached)s). The count "
        "starts anew at 0:00."
    ) % _figures(refusal)


def _size(refusal: Refusal) -> str:
    return _(
        "The message had %(reached)s, and %(limit)s are allowed. Attached files grow by more than "
        "a third when they are sent."
    ) % _sizes(refusal)


def _list_size(refusal: Refusal) -> str:
    return _("The message had %(reached)s, and to a mailing list %(limit)s are allowed.") % _sizes(
        refusal
    )


def _list_posters(refusal: Refusal) -> str:
    return _("The mailing list does not take mail from the sender's address.")


def _full(refusal: Refusal) -> str:
    return _(
        "The mailbox of the recipient is full. It takes mail again once its holder has made room; "
        "send the message again later."
    )


def _account(refusal: Refusal) -> str:
    return _("The account did not exist any more.")


def _figures(refusal: Refusal) -> dict[str, str]:
    return {"limit": number(refusal.limit), "reached": number(refusal.reached)}


def _sizes(refusal: Refusal) -> dict[str, str]:
    return {"limit": bytes_of(refusal.limit), "reached": bytes_of(refusal.reached)}


#: By the reasons of mailhost.policy.texts.REFUSALS.
_REASONS: Mapping[str, Callable[[Refusal], str]] = {
    "no-login": _no_login,
    "sender": _sender,
    "null-sender": _null_sender,
    "message-recipients": _message_recipients,
    "day-recipients": _day_recipients,
    "domain-recipients": _domain_recipients,
    "size": _size,
    "list-size": _list_size,
    "list-posters": _list_posters,
    "full": _full,
    "account": _account,
}
