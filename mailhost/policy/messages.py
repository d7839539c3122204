"""Messages on their way in, and how they are written to the journal and read again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mailhost.policy.journal import Entry

#: Entries in the journal: a message begins (its number and what is known of it); a recipient
#: (the message's number, the address: the only one without a word); messages that have ended (the
#: mark's number, pairs of a message and how many of its recipients count, messages to forget);
#: a message is over.
BEGIN, ENDED, OVER = "begin", "ended", "over"

_log = logging.getLogger("mailhost.policy")


@dataclass(slots=True, eq=False)
class Message:
    """A message on its way in, charged to `account`; "": mail from outside.

    All its recipients belong to the day on which it began; of mail from outside only those are
    noted that lead to a mailing list. `counted` of them count for good (`unsettled`: not on
    record yet); the others are reserved, unless they were given back (`lapsed`). A message is
    `gone` once its process speaks of another. `passed` is how often Postfix was told that a
    recipient is in order, `listed` whether one led to a mailing list, and `told` are the
    reasons for which others were refused.
    """

    id: int
    instance: str
    account: str
    domain: str
    ip: str
    way: str
    day: str
    hour: int
    last_at: float
    recipients: dict[str, None] = field(default_factory=dict)
    counted: int = 0
    lapsed: bool = False
    gone: bool = False
    unsettled: bool = False
    passed: int = 0
    listed: bool = False
    told: set[str] = field(default_factory=set)

    @property
    def open(self) -> int:
        """Return how many of its recipients do not count yet."""
        return len(self.recipients) - self.counted


def begun(message: Message) -> Entry:
    """Return the entry by which a message begins."""
    charged = (message.account, message.domain, message.ip, message.way)
    return (BEGIN, message.id, message.instance, *charged, message.day, message.hour)


def entries(message: Message) -> Iterator[Entry]:
    """Yield what makes the message anew, if there is anything to remember of it."""
    if message.recipients and not message.lapsed:
        yield begun(message)
        for recipient in message.recipients:
            yield (message.id, recipient)
        if message.counted:
            yield (ENDED, 0, [(message.id, message.counted)], [])


def replayed(journal: Iterable[Entry], mark: int, now: float) -> list[Message]:
    """Return the messages that these entries leave; marks hold up to the number `mark`."""
    messages: dict[int, Message] = {}
    for entry in journal:
        try:
            _replay(entry, messages, mark, now)
        except (TypeError, ValueError):
            _log.error("left out of the journal: %a", entry)
    for message in messages.values():
        message.passed = len(message.recipients)
        message.listed = True
    return list(messages.values())


def _replay(entry: Entry, messages: dict[int, Message], mark: int, now: float) -> None:
    kind, *values = entry
    if kind == BEGIN:
        id_, instance, account, domain, ip, way, day, hour = values
        messages[id_] = Message(id_, instance, account, domain, ip, way, day, hour, now)
    elif kind == ENDED:
        number, counted, gone = values
        if number <= mark:
            for id_, recipients in counted:
                if id_ in messages:
                    messages[id_].counted = recipients
            for id_ in gone:
                messages.pop(id_, None)
    elif kind == OVER:
        messages.pop(values[0], None)
    elif kind in messages:
        [recipient] = values
        messages[kind].recipients[recipient] = None
