"""Guessing of passwords: slowed down first, refused then, and never the owner for another's sake.

Wrong passwords are counted over a sliding hour. Two counts judge a login:

- Where the account has not logged in within 30 days, the place (IPv4 address, or /64 of IPv6)
  with all wrong passwords from there, and the account with those from all such places.
- Where it has, only the account's own wrong passwords from there. So nobody elsewhere can lock
  an owner out of his own address, nor can a neighbour who guesses at other accounts.

The very same wrong password again, for the same name from the same place, counts as one: it
tells a guesser nothing, but is what a mail program does that was left with an old password. It
is recognised by the 12 bits of a hash that Dovecot sends, which are kept in memory alone.

Times are UNIX seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mailhost.config import HostConfig
from mailhost.policy.changes import Changes
from mailhost.policy.database import PolicyDatabase

#: Seconds over which wrong passwords are counted.
WINDOW = 3600.0
#: Seconds for which an account's address stays its own after a login from there.
KNOWN = 30 * 24 * 3600.0
#: Postfix gives up on the auth server after 10 s, and a wrong password waits 2 s in Dovecot.
MOST_DELAY = 5
#: Wrong passwords kept at once; the oldest go first.
MOST_FAILURES = 50_000

# How exactly a login is remembered: each costs a row written.
_KNOWN_STEP = 6 * 3600.0
# Logins remembered as written.
_MOST_NOTES = 200_000
# After so many seconds without a word from Dovecot an attempt is no longer under way.
_ATTEMPT = 30.0
_DAY = 24 * 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Threshold:
    """From how many wrong passwords on a login is slowed, and from how many refused."""

    slow: int
    refuse: int

    def delay(self, count: int) -> int:
        """Return for how many seconds to hold up a login after `count` wrong passwords."""
        if count < self.slow:
            return 0
        return min(MOST_DELAY, 1 + (count - self.slow) // 2)

    def slowed_until(self, times: Sequence[float]) -> float:
        """Return until when logins are slowed after wrong passwords at `times`; 0: they are not.

        `times` are those within the window, the oldest first.
        """
        return _until(times, self.slow)

    def refused_until(self, times: Sequence[float]) -> float:
        """Return until when they are refused, likewise."""
        return _until(times, self.refuse)


def _until(times: Sequence[float], count: int) -> float:
    """Return when fewer than `count` will be within the window."""
    return times[-count] + WINDOW if len(times) >= count else 0.0


#: For wrong passwords from one place.
PLACE = Threshold(slow=5, refuse=20)
#: For an account's wrong passwords from all places that are not its own.
ACCOUNT = Threshold(slow=10, refuse=40)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Someone tries to log in as `login`, as typed but in lower case.

    `account` is the mailbox's name, or "" if none is known for this login. `network` is "" for
    logins by a part of the service that speaks for customers of any address. `password` is
    what tells one wrong password from another (a few bits of a hash).
    """

    login: str
    account: str
    network: str
    password: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a login: refuse it until then, or hold it up for `delay` seconds."""

    delay: int = 0
    refused_until: float = 0.0
    # What was counted: "own", "place" or "account".
    reason: str = ""

    def severity(self) -> tuple[float, int]:
        """Return what makes one verdict stricter than another."""
        return self.refused_until, self.delay


PASS = Verdict()


@dataclass(slots=True)
class _Failure:
    id: int
    account: str
    network: str
    known: bool
    at: float
    same: tuple[str, str, str] | None = None

    @property
    def keys(self) -> list[_Key]:
        """Name the counts it belongs to."""
        if self.known:
            return [("own", self.account, self.network)]
        keys: list[_Key] = []
        if self.network:
            keys.append(("place", self.network))
        if self.account:
            keys.append(("account", self.account))
        return keys


_Key = tuple[str, ...]


class Throttle:
    """Who guessed how much: in memory for speed, in the database for good."""

    def __init__(
        self, db: PolicyDatabase, config: HostConfig, clock: Callable[[], float] = time.time
    ) -> None:
        """Take up what an earlier process left in the database."""
        self._db = db
        self._on = config.slow_guessing
        # Oldest first, as are those of each count.
        self._failures: dict[int, _Failure] = {}
        self._counts: dict[_Key, dict[int, _Failure]] = {}
        self._same: dict[tuple[str, str, str], _Failure] = {}
        # When attempts began that Dovecot has not told the end of.
        self._under_way: dict[_Key, list[float]] = {}
        self._noted: dict[tuple[str, str], float] = {}
        self._told: set[_Key] = set()
        query = "SELECT max(changed) FROM (SELECT changed FROM failure UNION ALL"
        query += " SELECT changed FROM lifted)"
        self._changes = Changes(db.query(query)[0][0] or 0, clock())
        self._last = db.query("SELECT coalesce(max(id), 0) FROM failure")[0][0]
        for row in db.query("SELECT id, account, network, known, at FROM failure ORDER BY at"):
            id_, account, network, known, at = row
            self._keep(_Failure(id_, account, network, bool(known), at))
        self._trim()

    # What Dovecot asks and tells

    def judge(self, attempt: Attempt, now: float) -> Verdict:
        """Say what to do with a login before its password is looked at."""
        if not self._on:
            return PASS
        keys, verdict = self._keys(attempt, now), PASS
        for key in keys:
            verdict = max(verdict, self._judge(key, now), key=Verdict.severity)
        if verdict.refused_until and not attempt.network:
            verdict = Verdict(MOST_DELAY, 0.0, verdict.reason)
        if not verdict.refused_until:
            for key in keys:
                self._begin(key, now)
        return verdict

    def failed(self, attempt: Attempt, now: float) -> None:
        """The password was wrong, or there is no such account."""
        if not self._on:
            return
        self._end(attempt, now)
        same = (attempt.login, attempt.network, attempt.password)
        old = self._same.get(same) if attempt.password else None
        if old is not None:
            self._repeat(old, now)
            return
        known = self._is_known(attempt.account, attempt.network, now)
        self._last += 1
        failure = _Failure(self._last, attempt.account, attempt.network, known, now)
        if not failure.keys:
            return
        if attempt.password:
            failure.same = same
        self._keep(failure)
        self._db.soon(
            "INSERT INTO failure (id, account, network, known, at, changed) VALUES (?,?,?,?,?,?)",
            (failure.id, failure.account, failure.network, int(known), now, self._changes.next()),
        )
        self._trim()

    def succeeded(self, attempt: Attempt, now: float) -> None:
        """The password was right: this is now one of the account's own places."""
        self._end(attempt, now)
        account, network = attempt.account, attempt.network
        if not account or not network:
            return
        self._vouch(account, network, now)
        mine = self._counts.get(("own", account, network), {})
        here = self._counts.get(("place", network), {})
        mistakes = [failure for failure in here.values() if failure.account == account]
        self._lift([*mine.values(), *mistakes], now)

    # What the panel asks for

    def take_lifts(self, now: float) -> None:
        """Do what `figures.lift` asked for; to be called each second."""
        for id_, account, network in self._db.query("SELECT id, account, network FROM lift"):
            self.lift(account, network, now)
            self._db.soon("DELETE FROM lift WHERE id = ?", (id_,))

    def lift(self, account: str, network: str, now: float) -> None:
        """Forget the wrong passwords of an account, of a place ("" for none), or of both.

        With both, the place is the account's own from now on.
        """
        mistakes = [
            failure
            for failure in self._failures.values()
            if (account and failure.account == account)
            or (network and not account and failure.network == network)
        ]
        self._lift(mistakes, now)
        if account and network:
            self._vouch(account, network, now)
        _log.info("lifted: account=<%s> from=<%s>", account, network)

    def hand_over(self, account: str) -> None:
        """Another mailbox has this name now: the earlier one's places are strange to it.

        Wrong passwords stay: somebody guesses at the name.
        """
        for pair in [pair for pair in self._noted if pair[0] == account]:
            del self._noted[pair]
        self._db.soon("DELETE FROM known_place WHERE account = ?", (account,))

    def expire(self, now: float) -> None:
        """Forget what is too old to count; to be called each minute."""
        while self._failures:
            oldest = next(iter(self._failures.values()))
            if oldest.at > now - WINDOW:
                break
            self._forget(oldest)
        self._told &= self._counts.keys()
        for key in list(self._under_way):
            if not self._still_under_way(key, now):
                del self._under_way[key]
        self._db.soon("DELETE FROM failure WHERE at < ?", (now - WINDOW,))
        self._db.soon("DELETE FROM known_place WHERE at < ?", (now - KNOWN - _KNOWN_STEP,))
        self._db.soon("DELETE FROM lifted WHERE at < ?", (now - _DAY,))

    # Counts

    def _keys(self, attempt: Attempt, now: float) -> list[_Key]:
        """Return the counts that judge this login."""
        account, network = attempt.account, attempt.network
        if account and network:
            counts = [("own", account, network), ("place", network), ("account", account)]
            # Most logins: nobody guesses, and nothing need be looked up.
            if not any(key in self._counts for key in counts):
                return []
            if self._is_known(account, network, now):
                return counts[:1]
            return counts[1:]
        return [("place", network)] if network else [("account", account)] if account else []

    def _judge(self, key: _Key, now: float) -> Verdict:
        times = [failure.at for failure in self._within(key, now)]
        threshold = ACCOUNT if key[0] == "account" else PLACE
        until = threshold.refused_until(times)
        count = len(times)
        if not until and count >= threshold.slow:
            # Guesses may come many at a time: those not answered yet count as wrong by now.
            count += len(self._still_under_way(key, now))
            if count >= threshold.refuse:
                until = now + _ATTEMPT
        if until and key not in self._told:
            self._told.add(key)
            _log.info("guessing refused: %s=<%s>", key[0], " ".join(key[1:]))
        return Verdict(threshold.delay(count), until, key[0])

    def _within(self, key: _Key, now: float) -> Iterable[_Failure]:
        """Return what counts now, the oldest first."""
        failures = self._counts.get(key, {})
        return [failure for failure in failures.values() if failure.at > now - WINDOW]

    def _still_under_way(self, key: _Key, now: float) -> list[float]:
        return [at for at in self._under_way.get(key, ()) if at > now - _ATTEMPT]

    def _begin(self, key: _Key, now: float) -> None:
        self._under_way[key] = [*self._still_under_way(key, now), now]

    def _end(self, attempt: Attempt, now: float) -> None:
        if not self._under_way:
            return
        for key in self._keys(attempt, now):
            if rest := self._still_under_way(key, now)[1:]:
                self._under_way[key] = rest
            else:
                self._under_way.pop(key, None)

    def _keep(self, failure: _Failure) -> None:
        self._failures[failure.id] = failure
        for key in failure.keys:
            self._counts.setdefault(key, {})[failure.id] = failure
        if failure.same:
            self._same[failure.same] = failure

    def _forget(self, failure: _Failure) -> None:
        del self._failures[failure.id]
        for key in failure.keys:
            del self._counts[key][failure.id]
            if not self._counts[key]:
                del self._counts[key]
        if failure.same:
            del self._same[failure.same]

    def _repeat(self, failure: _Failure, now: float) -> None:
        """Count the same wrong password from now on, in place of when it came before."""
        self._forget(failure)
        failure.at = now
        self._keep(failure)
        self._db.soon(
            "UPDATE failure SET at = ?, changed = ? WHERE id = ?",
            (now, self._changes.next(), failure.id),
        )

    def _lift(self, failures: Iterable[_Failure], now: float) -> None:
        """Remove failures, and note whose they were: the panel must hear of it."""
        accounts = set()
        for failure in failures:
            accounts.add(failure.account)
            self._remove(failure)
        for account in sorted(accounts - {""}):
            self._db.soon(
                "INSERT OR REPLACE INTO lifted VALUES (?, ?, ?)",
                (account, now, self._changes.next()),
            )

    def _remove(self, failure: _Failure) -> None:
        self._forget(failure)
        self._db.soon("DELETE FROM failure WHERE id = ?", (failure.id,))

    def _trim(self) -> None:
        while len(self._failures) > MOST_FAILURES:
            self._remove(next(iter(self._failures.values())))

    # An account's own places

    def _vouch(self, account: str, network: str, now: float) -> None:
        pair = (account, network)
        if self._noted.get(pair, 0.0) > now - _KNOWN_STEP:
            return
        if len(self._noted) >= _MOST_NOTES:
            self._noted.clear()
        self._noted[pair] = now
        self._db.soon("INSERT OR REPLACE INTO known_place VALUES (?, ?, ?)", (*pair, now))

    def _is_known(self, account: str, network: str, now: float) -> bool:
        if not account or not network:
            return False
        if (account, network) in self._noted:
            return self._noted[account, network] > now - KNOWN - _KNOWN_STEP
        query = "SELECT at FROM known_place WHERE account = ? AND network = ?"
        rows = self._db.query(query, (account, network))
        return bool(rows) and rows[0][0] > now - KNOWN - _KNOWN_STEP
