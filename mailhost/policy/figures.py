"""What the policy daemon knows, for the panel: read by another process, as cheaply as it can be.

`read` returns what has changed since a cursor, from one moment of the database and without a
lock that the daemon would wait for. `lift` asks the daemon to forget wrong passwords; it does so
within a second, or as soon as it runs again.

Times are UNIX seconds.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailhost import locks
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.policy import throttle
from mailhost.policy.grants import network_of

#: Places named of those from which an account was guessed at: the latest.
MOST_PLACES = 20
#: Seconds to wait for the daemon's writing.
PATIENCE = 10.0
#: Rows of each kind that are read at once: the first time all that is kept is news.
MOST_ROWS = 20_000

_TABLES = ("count", "refusal", "grant", "failure", "lifted")


class FiguresError(HostError):
    """The policy daemon's database cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Recipients of an account's mail within one hour of a day, from one address by one way.

    `day` is YYYY-MM-DD and `hour` 0 to 23 by the mail server's time zone; `way` is "login"
    (POP-before-SMTP), "auth" or "webmail".
    """

    account: str
    domain: str
    day: str
    hour: int
    address: str
    way: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The latest refusal of an account's mail for one cause on one day, and how many there were.

    `reason` is a key of texts.REFUSALS; `sender` the envelope sender that was used, "" for the
    null sender. `day` is YYYY-MM-DD by the mail server's time zone, `at` the latest one's time.
    """

    account: str
    day: str
    reason: str
    sender: str
    at: float
    limit: int
    reached: int
    recipient: str
    times: int


@dataclass(frozen=True, slots=True)
class OpenWay:
    """From `address` an account may send until then, thanks to its login by `way`.

    `until` may have passed: so the panel learns that it is closed.
    """

    account: str
    address: str
    way: str
    login_at: float
    until: float


@dataclass(frozen=True, slots=True)
class GuessedFrom:
    """Wrong passwords for an account from one place within the last hour.

    `known`: the account has logged in from there within 30 days. Until when logins from there
    are slowed, and refused; 0: they are not.
    """

    network: str
    wrong: int
    last_at: float
    known: bool
    slowed_until: float
    refused_until: float


@dataclass(frozen=True, slots=True)
class Guessed:
    """Wrong passwords for an account within the last hour.

    `wrong` counts those from places that are not the account's own, and for all such places is
    what follows: until when logins are slowed, and refused; 0: they are not.
    """

    account: str
    wrong: int
    slowed_until: float
    refused_until: float
    places: tuple[GuessedFrom, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What has changed; `cursor` is for the next time, at once if there is `more`."""

    cursor: str = ""
    more: bool = False
    sent: list[Sent] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    ways: list[OpenWay] = field(default_factory=list)
    guessed: list[Guessed] = field(default_factory=list)


def read(root: Path, cursor: str = "", now: float | None = None) -> Figures:
    """Return what has changed since `cursor` of the server in `root`; "": since ever.

    The oldest comes first, at most MOST_ROWS of a kind. Of an account whose wrong passwords
    changed, all that count now are told. Raises FiguresError. Without a daemon that ever ran
    there are no figures.
    """
    since = _parse(cursor)
    with _opened(root) as db:
        if db is None:
            return Figures()
        found = {table: _changed(db, table, since[table]) for table in _CHANGED}
        upto = {table: rows[-1][-1] for table, rows in found.items() if rows}
        upto |= {table: _highest(db, table, since[table]) for table in ("failure", "lifted")}
        return Figures(
            sent=[Sent(*row[:-1]) for row in found["count"]],
            refusals=[Refused(*row[:-1]) for row in found["refusal"]],
            ways=[OpenWay(*row[:-1]) for row in found["grant"]],
            guessed=list(_guessed(db, since, time.time() if now is None else now)),
            cursor=".".join(str(upto.get(table, since[table])) for table in _TABLES),
            more=any(len(rows) == MOST_ROWS for rows in found.values()),
        )


def of_account(root: Path, account: str, day: str, now: float) -> Figures:
    """Return what is known of one account: of what it sent, only that of a day (YYYY-MM-DD)."""
    with _opened(root) as db:
        if db is None:
            return Figures()
        sent = db.execute(f"{_SENT} WHERE account = ? AND day = ?", (account, day))
        refusals = db.execute(f"{_REFUSALS} WHERE account = ? ORDER BY changed", (account,))
        ways = db.execute(f"{_WAYS} WHERE account = ? ORDER BY login_at", (account,))
        return Figures(
            sent=[Sent(*row[:-1]) for row in sent],
            refusals=[Refused(*row[:-1]) for row in refusals],
            ways=[OpenWay(*row[:-1]) for row in ways],
            guessed=[_guessed_at(db, account, now - throttle.WINDOW)],
        )


def sent_by_domain(root: Path, domain: str, day: str) -> int:
    """Return the recipients of all accounts of a domain on a day."""
    query = "SELECT coalesce(sum(recipients), 0) FROM count WHERE day = ? AND domain = ?"
    with _opened(root) as db:
        return db.execute(query, (day, domain)).fetchone()[0] if db else 0


@contextmanager
def taken_over_alone(root: Path) -> Iterator[bool]:
    """Keep others from taking the same figures over meanwhile; False: another is at it.

    The kernel frees the lock when the process dies. Without a daemon that ever ran there is
    nothing to keep apart.
    """
    try:
        lock = locks.take(Paths(root).policy / "figures.lock")
    except FileNotFoundError:
        yield True
        return
    except OSError as error:
        raise FiguresError(f"{error.filename}: {error.strerror}") from error
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        os.close(lock)


def refused_places(root: Path, now: float | None = None) -> list[GuessedFrom]:
    """Return the places from which no account logs in now but its own, the worst first."""
    begin = (time.time() if now is None else now) - throttle.WINDOW
    with _opened(root) as db:
        if db is None:
            return []
        networks = [row[0] for row in db.execute(_PLACES, (begin, throttle.PLACE.refuse))]
        times = {network: _times(db, network, begin) for network in networks}
        return [_from(network, times[network], False, times[network]) for network in networks]


def lift(root: Path, account: str = "", address: str = "", wait: float = 0.0) -> bool:
    """Have the daemon forget the wrong passwords for an account, from an address, or both.

    With both, the address is the account's own from then on, as after a login. Return whether
    the daemon has done it within `wait` seconds; it will in any case. Raises FiguresError.
    """
    network = network_of(address)
    if address and not network:
        raise FiguresError(f"{address!a} is no IP address")
    file = Paths(root).policy / "policy.sqlite3"
    try:
        with closing(_connect(file, "rw")) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            values = (account, network)
            id_ = db.execute("INSERT INTO lift (account, network) VALUES (?, ?)", values).lastrowid
            end = time.monotonic() + wait
            while waiting := db.execute("SELECT 1 FROM lift WHERE id = ?", (id_,)).fetchone():
                if time.monotonic() >= end:
                    break
                time.sleep(0.05)
    except sqlite3.Error as error:
        raise FiguresError(f"{file} cannot be written: {error}") from error
    return not waiting


_SENT = "SELECT account, domain, day, hour, ip, way, recipients, changed FROM count"
_REFUSALS = """
SELECT account, day, reason, sender, at, "limit", reached, recipient, times, changed FROM refusal
"""
_WAYS = "SELECT account, address, way, login_at, until, changed FROM grant"
_CHANGED = {"count": _SENT, "refusal": _REFUSALS, "grant": _WAYS}
_ACCOUNTS = """
SELECT account FROM failure WHERE changed > ? AND account <> ''
UNION SELECT account FROM lifted WHERE changed > ? ORDER BY account
"""
_FAILURES = "SELECT network, known, at FROM failure WHERE account = ? AND at > ? ORDER BY at"
_FROM = "SELECT at FROM failure WHERE network = ? AND known = 0 AND at > ? ORDER BY at"
_PLACES = """
SELECT network FROM failure WHERE known = 0 AND network <> '' AND at > ?
GROUP BY network HAVING count(*) >= ? ORDER BY count(*) DESC, network
"""


def _changed(db: sqlite3.Connection, table: str, since: int) -> list[tuple[Any, ...]]:
    query = f"{_CHANGED[table]} WHERE changed > ? ORDER BY changed LIMIT ?"
    return db.execute(query, (since, MOST_ROWS)).fetchall()


def _guessed(db: sqlite3.Connection, since: dict[str, int], now: float) -> Iterator[Guessed]:
    accounts = db.execute(_ACCOUNTS, (since["failure"], since["lifted"])).fetchall()
    for (account,) in accounts:
        yield _guessed_at(db, account, now - throttle.WINDOW)


def _guessed_at(db: sqlite3.Connection, account: str, begin: float) -> Guessed:
    rows = db.execute(_FAILURES, (account, begin)).fetchall()
    elsewhere = [at for _, known, at in rows if not known]
    return Guessed(
        account,
        len(elsewhere),
        throttle.ACCOUNT.slowed_until(elsewhere),
        throttle.ACCOUNT.refused_until(elsewhere),
        tuple(_places(db, rows, begin)),
    )


def _places(
    db: sqlite3.Connection, rows: list[tuple[str, int, float]], begin: float
) -> Iterator[GuessedFrom]:
    """Yield the places of an account's wrong passwords, the latest first."""
    by_place: dict[tuple[str, int], list[float]] = {}
    for network, known, at in rows:
        if network:
            by_place.setdefault((network, known), []).append(at)
    latest = sorted(by_place.items(), key=lambda item: item[1][-1], reverse=True)
    for (network, known), times in latest[:MOST_PLACES]:
        # From a strange place all wrong passwords count together, whomever they were for.
        all_ = times if known else _times(db, network, begin)
        yield _from(network, times, bool(known), all_)


def _from(network: str, times: list[float], known: bool, counted: list[float]) -> GuessedFrom:
    place = throttle.PLACE
    slowed, refused = place.slowed_until(counted), place.refused_until(counted)
    return GuessedFrom(network, len(times), times[-1], known, slowed, refused)


def _times(db: sqlite3.Connection, network: str, begin: float) -> list[float]:
    return [row[0] for row in db.execute(_FROM, (network, begin))]


def _parse(cursor: str) -> dict[str, int]:
    numbers = cursor.split(".") if cursor else ["0"] * len(_TABLES)
    if len(numbers) != len(_TABLES) or not all(n.isascii() and n.isdigit() for n in numbers):
        raise FiguresError(f"no cursor: {cursor!a}")
    return dict(zip(_TABLES, map(int, numbers), strict=True))


def _highest(db: sqlite3.Connection, table: str, since: int) -> int:
    query = f"SELECT coalesce(max(changed), 0) FROM {table}"  # noqa: S608 (names above)
    # Rows may have gone meanwhile, numbers never come again.
    return max(since, int(db.execute(query).fetchone()[0]))


@contextmanager
def _opened(root: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the database at one moment of it; None if there is none yet."""
    file = Paths(root).policy / "policy.sqlite3"
    if not file.exists():
        yield None
        return
    try:
        with closing(_connect(file, "ro")) as db:
            db.execute("BEGIN")
            yield db
    except sqlite3.Error as error:
        raise FiguresError(f"{file} cannot be read: {error}") from error


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
