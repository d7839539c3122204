"""What would happen to a message: the rules of the mail server's policy daemon, told beforehand."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.utils.translation import gettext as _

from quota.limits import Limits
from quota.words import bytes_of, number

# What is between addresses in whatever a customer pastes: a list, a line of a mail program, a
# column of a table. To search for addresses would take minutes where there is no @ in a long text.
_BETWEEN = re.compile(r"[\s<>()\[\],;:\"'、；，]+")
# Base64 makes 4 bytes of 3 and ends each line of 76 with two more (RFC 2045, 6.8).
_GROWN, _BARE = 78 * 4, 76 * 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that would happen.

    `kind` is "stop" where mail would be refused, "wait" for what is to be known, else "done".
    """

    kind: str
    words: str
    advice: str = ""


def addresses_in(text: str, hosted: Collection[str] = ()) -> list[str]:
    """Return the addresses in a text, each once, as the mail server counts them.

    The case of the domain does not matter; in the `hosted` domains neither does the rest's.
    """
    found: dict[str, None] = {}
    for word in _BETWEEN.split(text):
        if "@" not in word[1:-1]:
            continue
        local_part, _at, domain = word.rstrip(".").rpartition("@")
        domain = domain.lower()
        local_part = local_part.lower() if domain in hosted else local_part
        found[f"{local_part}@{domain}"] = None
    return list(found)


def as_sent(size: int) -> int:
    """Return the bytes of attached files of this size once they are encoded for sending."""
    return -(-size * _GROWN // _BARE)


def before_sent(size: int) -> int:
    """Return the bytes of files that fit into so many, once encoded."""
    return size * _BARE // _GROWN


class ListLike(Protocol):
    """A mailing list that a message comes to."""

    @property
    def address(self) -> str:
        """Its address as people read it."""

    @property
    def refused(self) -> str:
        """Who alone may write to it, where the sender is not among them; "" else."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message not sent yet; `size` is that of the whole message as it is sent, in bytes."""

    recipients: int
    size: int = 0
    to_list: bool = False
    lists: Sequence[ListLike] = ()


@dataclass(frozen=True, slots=True)
class Used:
    """Recipients of today: the account's, and those of its whole domain."""

    account: int
    domain: int


def judge(draft: Draft, limits: Limits, used: Used) -> list[Finding]:
    """Return what would happen to this message if it were sent now; what is refused comes first."""
    stops = [
        *_size(draft, limits),
        *_lists(draft),
        *_message(draft, limits),
        *_day(draft, limits, used),
    ]
    if stops:
        return stops
    after = {
        "after": number(used.account + draft.recipients),
        "limit": number(limits.recipients_per_day),
    }
    words = _("Nothing stands in the way of this message.")
    return [
        Finding("done", words, _("Today's count would then be %(after)s of %(limit)s.") % after),
        *_known_lists(draft, limits),
    ]


def _size(draft: Draft, limits: Limits) -> Iterator[Finding]:
    if draft.size > limits.message_bytes:
        values = {"size": bytes_of(draft.size), "limit": bytes_of(limits.message_bytes)}
        yield Finding(
            "stop",
            _("It would be refused: about %(size)s as sent, and %(limit)s are allowed.") % values,
            _("Attach at most %(size)s of files, or put them where they can be fetched.")
            % {"size": bytes_of(before_sent(limits.message_bytes))},
        )
    if (draft.to_list or draft.lists) and draft.size > limits.list_message_bytes:
        values = {"size": bytes_of(draft.size), "limit": bytes_of(limits.list_message_bytes)}
        yield Finding(
            "stop",
            _(
                "The mailing list would refuse it: about %(size)s as sent, and %(limit)s are "
                "allowed to a list."
            )
            % values,
            _("Send the text without the attached files, and say where they can be fetched."),
        )


def _lists(draft: Draft) -> Iterator[Finding]:
    """Say which lists are closed to the sender."""
    for one in draft.lists:
        if one.refused:
            yield Finding(
                "stop",
                _("The mailing list %(list)s would refuse it.") % {"list": one.address},
                _("Who may write to it: %(who)s.") % {"who": one.refused},
            )


def _known_lists(draft: Draft, limits: Limits) -> Iterator[Finding]:
    """Say how large a message to the lists among the recipients may be."""
    for one in draft.lists:
        values = {"list": one.address, "limit": bytes_of(limits.list_message_bytes)}
        words = _("%(list)s is a mailing list: a message to it may have at most %(limit)s.")
        yield Finding("wait", words % values)


def _message(draft: Draft, limits: Limits) -> Iterator[Finding]:
    limit = limits.recipients_per_message
    if draft.recipients <= limit:
        return
    messages = -(-draft.recipients // limit)
    yield Finding(
        "stop",
        _(
            "From recipient number %(first)s on it would be refused: a message may have %(limit)s "
            "recipients, this one has %(recipients)s."
        )
        % {
            "first": number(limit + 1),
            "limit": number(limit),
            "recipients": number(draft.recipients),
        },
        _("Split it into %(messages)s messages, each to at most %(each)s recipients.")
        % {"messages": number(messages), "each": number(-(-draft.recipients // messages))},
    )


def _day(draft: Draft, limits: Limits, used: Used) -> Iterator[Finding]:
    of_domain = limits.domain_recipients_per_day
    left = limits.recipients_per_day - used.account
    if draft.recipients > left:
        yield _over_day(
            _("The account may have %(limit)s recipients a day, and %(used)s are used."),
            limits.recipients_per_day,
            used.account,
        )
    elif of_domain and draft.recipients > of_domain - used.domain:
        yield _over_day(
            _("The whole domain may have %(limit)s recipients a day, and %(used)s are used."),
            of_domain,
            used.domain,
        )


def _over_day(words: str, limit: int, used: int) -> Finding:
    left = max(0, limit - used)
    if left:
        advice = _("Today it can go to %(left)s more; send to the rest after 0:00.")
    else:
        advice = _("Send it after 0:00, when the count starts anew.")
    return Finding(
        "stop",
        words % {"limit": number(limit), "used": number(used)},
        advice % {"left": number(left)},
    )
