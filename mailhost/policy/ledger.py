"""How many recipients each account has sent to today, exactly, and over restarts.

A recipient is reserved when Postfix asks about it and counted when the message's end is
accepted. Postfix tells nobody when a message is given up, so a reservation lapses when the same
process of Postfix asks about another message (the first part of `instance` names the process),
or after ten minutes. What was reserved before this process began counts: its message may have
been accepted meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from mailhost.policy.changes import Changes
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import AccountView, ListView

#: Seconds after its last recipient for which a message may still end.
PATIENCE = 600.0
#: Days for which counts stay on record.
DAYS_KEPT = 31
#: Refusals kept of each account.
REFUSALS_KEPT = 10
#: Messages kept at once; Postfix has some hundred processes, each with one.
_MOST_MESSAGES = 20_000

_RESERVE = "INSERT OR IGNORE INTO reservation VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_RELEASE = "DELETE FROM reservation WHERE instance = ?"
_COUNT = """
INSERT INTO count VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET recipients = recipients + excluded.recipients, changed = excluded.changed
"""
_REFUSE = """
INSERT INTO refusal (account, at, reason, "limit", reached, recipient, changed)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_FORGET_REFUSALS = """
DELETE FROM refusal WHERE account = ? AND id NOT IN
(SELECT id FROM refusal WHERE account = ? ORDER BY id DESC LIMIT ?)
"""


@dataclass(slots=True)
class Message:
    """A message on its way in. `account` is who sends it; None: mail from outside."""

    instance: str
    account: AccountView | None
    ip: str
    way: str
    day: str
    hour: int
    last_at: float
    recipients: dict[str, None] = field(default_factory=dict)
    lists: dict[str, ListView] = field(default_factory=dict)
    counted: bool = False


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
        self._messages: dict[str, Message] = {}
        self._by_process: dict[str, str] = {}
        self._totals: dict[tuple[str, str], int] = defaultdict(int)
        self._domains: dict[tuple[str, str], int] = defaultdict(int)
        highest = "SELECT max((SELECT coalesce(max(changed), 0) FROM count),"
        highest += " (SELECT coalesce(max(changed), 0) FROM refusal))"
        self._changes = Changes(db.query(highest)[0][0], now)
        #: Messages reserved before this process, whose end may still come.
        self._earlier: dict[str, float] = {}
        self._count_earlier(now)
        today = clock.hour(now)[0]
        query = "SELECT account, domain, day, recipients FROM count WHERE day >= ?"
        for account, domain, day, recipients in db.query(query, (today,)):
            self._add(account, domain, day, recipients)

    def _count_earlier(self, now: float) -> None:
        query = (
            "SELECT account, domain, day, hour, ip, way, count(*), instance FROM reservation"
            " GROUP BY instance, account, domain, day, hour, ip, way"
        )
        for *key, recipients, instance in self._db.query(query):
            self._db.soon(_COUNT, (*key, recipients, self._changes.next()))
            self._db.soon(_RELEASE, (instance,))
            self._earlier[instance] = now
        self._db.flush()

    def _add(self, account: str, domain: str, day: str, recipients: int) -> None:
        self._totals[account, day] += recipients
        self._domains[domain, day] += recipients

    # Questions

    def today(self, account: AccountView, now: float) -> tuple[int, int]:
        """Return the recipients of this account, and of its domain, on this day."""
        day = self._clock.hour(now)[0]
        return self._totals.get((account.name, day), 0), self._domains.get((account.domain, day), 0)

    def message(self, instance: str) -> Message | None:
        """Return the message with this instance, if anything was said about it before."""
        return self._messages.get(instance)

    def was_counted_before(self, instance: str) -> bool:
        """Say whether an earlier process reserved this message's recipients, which count."""
        return instance in self._earlier

    # What happens

    def seen(self, instance: str) -> None:
        """A process of Postfix speaks of this message: an earlier one of it was given up."""
        process = instance.partition(".")[0]
        earlier = self._by_process.get(process)
        if earlier != instance:
            if earlier is not None:
                self.lapse(earlier)
            self._by_process[process] = instance

    def begin(
        self, instance: str, account: AccountView | None, ip: str, way: str, now: float
    ) -> Message:
        """Return a new message. At most so many are kept; the oldest lapse."""
        if len(self._messages) >= _MOST_MESSAGES:
            self.lapse(next(iter(self._messages)))
        day, hour = self._clock.hour(now)
        message = Message(instance, account, ip, way, day, hour, now)
        self._messages[instance] = message
        return message

    def reserve(self, message: Message, recipient: str, now: float) -> None:
        """Reserve one more recipient; one that the message has already changes nothing."""
        message.last_at = now
        if recipient in message.recipients:
            return
        message.recipients[recipient] = None
        account = message.account
        if account is not None:
            self._add(account.name, account.domain, message.day, 1)
            values = (account.name, account.domain, message.day, message.hour)
            place = (message.ip, message.way)
            self._db.soon(_RESERVE, (message.instance, recipient, *values, *place))

    def count(self, message: Message) -> None:
        """Count the recipients of an accepted message; once, however often it is said."""
        if message.counted:
            return
        message.counted = True
        if message.account is not None and message.recipients:
            self._write_count(message, len(message.recipients))
            self._db.soon(_RELEASE, (message.instance,))

    def count_unreserved(self, message: Message, recipients: int) -> None:
        """Count an accepted message whose reservation has lapsed."""
        account = message.account
        if account is not None:
            message.counted = True
            self._add(account.name, account.domain, message.day, recipients)
            self._write_count(message, recipients)

    def _write_count(self, message: Message, recipients: int) -> None:
        assert message.account is not None  # noqa: S101 (of both callers)
        values = (message.account.name, message.account.domain, message.day, message.hour)
        place = (message.ip, message.way)
        self._db.soon(_COUNT, (*values, *place, recipients, self._changes.next()))

    def lapse(self, instance: str) -> None:
        """Give the recipients of a message back, unless they count by now."""
        message = self._messages.pop(instance, None)
        if message is None or message.counted or message.account is None:
            return
        if message.recipients:
            account = message.account
            self._add(account.name, account.domain, message.day, -len(message.recipients))
            self._db.soon(_RELEASE, (instance,))

    def refuse(
        self, account: str, reason: str, limit: int, reached: int, recipient: str, now: float
    ) -> None:
        """Remember a refusal for the account's owner to see."""
        values = (account, now, reason, limit, reached, recipient[:254])
        self._db.soon(_REFUSE, (*values, self._changes.next()))
        self._db.soon(_FORGET_REFUSALS, (account, account, REFUSALS_KEPT))

    def expire(self, now: float) -> None:
        """Let lapse what is too old, and forget what is of earlier days. To be called often."""
        old = [m.instance for m in self._messages.values() if m.last_at < now - PATIENCE]
        for instance in old:
            self.lapse(instance)
        self._by_process = {
            process: instance
            for process, instance in self._by_process.items()
            if instance in self._messages
        }
        self._earlier = {i: at for i, at in self._earlier.items() if at >= now - PATIENCE}
        today = self._clock.hour(now)[0]
        days = {message.day for message in self._messages.values()} | {today}
        for totals in (self._totals, self._domains):
            for key in [key for key in totals if key[1] not in days or not totals[key]]:
                del totals[key]
        oldest = self._clock.hour(now - DAYS_KEPT * 86400)[0]
        self._clock.hour(now)
        self._db.soon("DELETE FROM count WHERE day < ?", (oldest,))

    def open_recipients(self) -> Iterable[Message]:
        """Return the messages on their way, for tests and the status."""
        return self._messages.values()
