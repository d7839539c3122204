"""How many recipients each account has sent to today, exactly, and over restarts.

A recipient is reserved when Postfix asks about it and counted when the message's end is
accepted. Postfix tells nobody when a message is given up, so a reservation lapses when the same
process of Postfix asks about another message (the first part of `instance` names the process),
or after ten minutes; if it ends all the same, it is taken again or refused. What was reserved
before this process began counts: its message may have been accepted meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from mailhost.policy.changes import Changes
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import AccountView
from mailhost.policy.journal import Journal
from mailhost.policy.messages import ENDED, OVER, Message, begun, entries, replayed

#: Seconds after its last recipient for which a message may still end.
PATIENCE = 600.0
#: Days for which counts stay on record.
DAYS_KEPT = 31
#: Characters kept of an address (RFC 5321, 4.5.3.1).
LONGEST = 254
#: Refusals kept of each account.
REFUSALS_KEPT = 10
#: Seconds for which a message that has lapsed is remembered, in case it ends after all.
_REMEMBERED = 6 * 3600.0
#: Messages kept at once; Postfix has some hundred processes, each with one.
_MOST_MESSAGES = 20_000
#: Messages whose end is written at once, of those that end within so many seconds; the ends of
#: the others are written together.
_SETTLED_AT_ONCE, _SHORT_WHILE = 5, 0.1

_COUNT = """
INSERT INTO count VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET recipients = recipients + excluded.recipients, changed = excluded.changed
"""
_REFUSE = """
INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)
ON CONFLICT DO UPDATE SET at = excluded.at, "limit" = excluded."limit", reached = excluded.reached,
recipient = excluded.recipient, times = times + 1, changed = excluded.changed
"""
_FORGET_REFUSALS = """
DELETE FROM refusal WHERE account = ? AND changed <=
(SELECT changed FROM refusal WHERE account = ? ORDER BY changed DESC LIMIT 1 OFFSET ?)
"""
_HAND_OVER = """
INSERT INTO count SELECT ?, domain, day, hour, ip, way, recipients, changed
FROM count WHERE account = ?
ON CONFLICT DO UPDATE SET recipients = recipients + excluded.recipients
"""


class Clock:
    """Day and hour by the server's time zone."""

    def __init__(self, zone: str) -> None:
        """Take the zone's name."""
        self._zone = ZoneInfo(zone)
        self._minute = -1
        self._hour = ("", 0)

    def hour(self, now: float) -> tuple[str, int]:
        """Return the day (YYYY-MM-DD) and the hour of a moment."""
        # Every zone's days and hours begin with a minute.
        minute = int(now // 60)
        if minute != self._minute:
            local = datetime.fromtimestamp(now, self._zone)
            self._minute, self._hour = minute, (local.date().isoformat(), local.hour)
        return self._hour


class Ledger:
    """Messages on their way, and today's totals: in memory, and in the database for good."""

    def __init__(self, db: PolicyDatabase, clock: Clock, now: float) -> None:
        """Take up what an earlier process left."""
        self._db = db
        self._clock = clock
        self._last = 0
        self._journal = Journal(db)
        # By the process of Postfix that speaks of it, which has one at a time.
        self._messages: dict[str, Message] = {}
        # What has ended and is not settled yet, by the key of `count`, and its messages.
        self._ended: dict[tuple[str, str, str, int, str, str], int] = {}
        self._unsettled: list[Message] = []
        self._while_began, self._ends = 0.0, 0
        self._totals: dict[tuple[str, str], int] = defaultdict(int)
        self._domains: dict[tuple[str, str], int] = defaultdict(int)
        highest = "SELECT max((SELECT coalesce(max(changed), 0) FROM count),"
        highest += " (SELECT coalesce(max(changed), 0) FROM refusal))"
        self._changes = Changes(db.query(highest)[0][0], now)
        self._mark: int = db.query("SELECT number FROM settled")[0][0]
        self._load(now)
        yesterday = clock.hour(now - 86400)[0]
        query = "SELECT account, domain, day, recipients FROM count WHERE day >= ?"
        for account, domain, day, recipients in db.query(query, (yesterday,)):
            self._add(account, domain, day, recipients)

    def _load(self, now: float) -> None:
        """Take up what the journal says, and count all that was reserved."""
        messages = replayed(self._journal.read(), self._mark, now)
        for message in messages:
            self._messages[_process(message.instance)] = message
            self._last = max(self._last, message.id)
            self._note_end(message)
        self._rewrite()

    def _rewrite(self) -> None:
        self.settle()
        self._db.flush()
        if not self._db.failing:
            messages = list(self._messages.values())
            self._journal.replace(entry for message in messages for entry in entries(message))

    def _add(self, account: str, domain: str, day: str, recipients: int) -> None:
        self._totals[account, day] += recipients
        self._domains[domain, day] += recipients

    # Questions

    def day(self, now: float) -> str:
        """Return the calendar day (YYYY-MM-DD) of a moment."""
        return self._clock.hour(now)[0]

    def used(self, account: AccountView, day: str) -> tuple[int, int]:
        """Return the recipients of this account, and of its domain, on a day."""
        return self._totals.get((account.name, day), 0), self._domains.get((account.domain, day), 0)

    def current(self, instance: str) -> Message | None:
        """Return the message with this instance, if anything was said about it before."""
        message = self._messages.get(_process(instance))
        return message if message is not None and message.instance == instance else None

    def messages(self) -> Iterable[Message]:
        """Return all that are on their way, and those that ended a short while ago."""
        return self._messages.values()

    # What happens

    def seen(self, instance: str, now: float) -> Message | None:
        """Postfix speaks of this message; return it, if anything was said about it before.

        An earlier one of the same process was given up.
        """
        process = instance.partition(".")[0]
        message = self._messages.get(process)
        if message is None:
            return None
        if message.instance != instance:
            self._forget(process)
            return None
        if message.last_at < now - PATIENCE:
            self.give_back(message)
        message.last_at = now
        return message

    def begin(
        self, instance: str, account: AccountView | None, ip: str, way: str, now: float
    ) -> Message:
        """Return a new message. At most so many are kept; the oldest lapse."""
        process = _process(instance)
        if process in self._messages:
            self._forget(process)
        elif len(self._messages) >= _MOST_MESSAGES:
            self._forget(next(iter(self._messages)))
        name, domain = (account.name, account.domain) if account else ("", "")
        self._last += 1
        hour = self._clock.hour(now)
        message = Message(self._last, instance, name, domain, ip, way, *hour, now)
        self._messages[process] = message
        return message

    def reserve(self, message: Message, recipient: str) -> None:
        """Reserve one more recipient; one that the message has already changes nothing."""
        if recipient in message.recipients:
            return
        if not message.recipients:
            self._journal.note(*begun(message))
        message.recipients[recipient] = None
        if message.account:
            self._totals[message.account, message.day] += 1
            self._domains[message.domain, message.day] += 1
        self._journal.note_quickly(message.id, recipient)

    def take_again(self, message: Message, now: float) -> None:
        """Reserve anew what was given back, on the day that it is now."""
        message.lapsed = False
        message.day, message.hour = self._clock.hour(now)
        for entry in entries(message):
            self._journal.note(*entry)
        self._add(message.account, message.domain, message.day, message.open)

    def count(self, message: Message, now: float) -> None:
        """Count the reserved recipients of an accepted message; each once for good.

        On record they count already, as reserved ones that an earlier process left. That they
        do as ended ones is written for all messages together where many end at once.
        """
        if message.account and message.open:
            self._note_end(message)
            if abs(now - self._while_began) > _SHORT_WHILE:
                self._while_began, self._ends = now, 0
            self._ends += 1
            if self._ends <= _SETTLED_AT_ONCE:
                self.settle()

    def _note_end(self, message: Message) -> None:
        if message.account and message.open:
            hour = (message.account, message.domain, message.day, message.hour)
            key = (*hour, message.ip, message.way)
            self._ended[key] = self._ended.get(key, 0) + message.open
            message.counted = len(message.recipients)
            message.unsettled = True
            self._unsettled.append(message)

    def settle(self) -> None:
        """Write the counts of messages that have ended."""
        if not self._unsettled:
            return
        self._mark += 1
        counted, gone = [], []
        for message in self._unsettled:
            message.unsettled = False
            if message.gone:
                gone.append(message.id)
            else:
                counted.append((message.id, message.counted))
        self._journal.note(ENDED, self._mark, counted, gone)
        for key, recipients in self._ended.items():
            self._db.soon(_COUNT, (*key, recipients, self._changes.next()))
        self._db.soon("UPDATE settled SET number = ?", (self._mark,))
        self._ended.clear()
        self._unsettled.clear()

    def close(self) -> None:
        """Write what waits and close the journal."""
        self.settle()
        self._db.flush()
        self._journal.close()

    def tidy(self) -> None:
        """Settle what waits for it, and keep the journal short. To be called each second."""
        if self._journal.is_long:
            self._rewrite()
        else:
            self.settle()

    def give_back(self, message: Message) -> None:
        """Give the recipients of a message back, but for those that count by now."""
        if message.account and message.open and not message.lapsed:
            if message.unsettled:
                self.settle()
            message.lapsed = True
            self._add(message.account, message.domain, message.day, -message.open)
            self._journal.note(OVER, message.id)

    def _forget(self, process: str) -> None:
        message = self._messages.pop(process)
        message.gone = True
        self.give_back(message)
        # What has ended is on record until it is settled.
        if message.recipients and not message.lapsed and not message.unsettled:
            self._journal.note(OVER, message.id)

    def refuse(
        self,
        account: str,
        reason: str,
        limit: int,
        reached: int,
        sender: str,
        recipient: str,
        now: float,
    ) -> None:
        """Remember a refusal for the account's owner to see."""
        cause = (account, self.day(now), reason, sender[:LONGEST])
        values = (now, limit, reached, recipient[:LONGEST])
        self._db.soon(_REFUSE, (*cause, *values, self._changes.next()))
        self._db.soon(_FORGET_REFUSALS, (account, account, REFUSALS_KEPT))

    def hand_over(self, name: str, earlier: str) -> None:
        """Another mailbox has this name now: what the earlier one sent is its domain's alone.

        A message of the earlier one that is still on its way counts as the new one's.
        """
        self.settle()
        for key in [key for key in self._totals if key[0] == name]:
            del self._totals[key]
        for message in self._messages.values():
            if message.account == name and not message.lapsed:
                self._totals[name, message.day] += message.open
        self._db.soon(_HAND_OVER, (f"{name}:{earlier}", name))
        for table in ("count", "refusal"):
            self._db.soon(f"DELETE FROM {table} WHERE account = ?", (name,))  # noqa: S608

    def lapse(self, now: float) -> None:
        """Give back what was reserved too long ago; forget messages that have ended."""
        for process, message in list(self._messages.items()):
            if message.last_at >= now - PATIENCE:
                continue
            self.give_back(message)
            if not message.open or message.last_at < now - _REMEMBERED:
                self._forget(process)

    def expire(self, now: float) -> None:
        """Do what `lapse` does, and forget earlier days. To be called each minute or so."""
        self.lapse(now)
        days = {message.day for message in self._messages.values()} | {self.day(now)}
        for totals in (self._totals, self._domains):
            for key in [key for key in totals if key[1] not in days or not totals[key]]:
                del totals[key]
        oldest = self._clock.hour(now - DAYS_KEPT * 86400)[0]
        self._db.soon("DELETE FROM count WHERE day < ?", (oldest,))


def _process(instance: str) -> str:
    """Return the part of an instance that names the process of Postfix."""
    return instance.partition(".")[0]
