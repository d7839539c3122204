"""What the policy daemon knows of one account, in words for the operator's terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from mailhost.config import load_config
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.policy import figures
from mailhost.policy.directory import AccountView, Directory
from mailhost.policy.texts import size

_WAYS_OF_SENDING = {"login": "after a login", "auth": "password", "webmail": "webmail"}
# Writes a moment (UNIX seconds) by the server's time zone.
_Clock = Callable[[float], str]


class NoAccount(HostError):
    """There is no account of this name on this server."""


def lines(root: Path, name: str, now: float) -> Iterator[str]:
    """Yield what the account's limits are, what it sent today, from where it may, and refusals.

    `name` may be its address. `now` is UNIX seconds. Raises NoAccount and FiguresError.
    """
    config = load_config(root)
    with closing(Directory(Paths(root).store)) as directory:
        account = directory.account(name.partition("@")[0])
    if account is None or name not in (account.name, account.address):
        raise NoAccount(f"no account {name!a} on this server")
    zone = ZoneInfo(config.time_zone)

    def clock(moment: float) -> str:
        return f"{datetime.fromtimestamp(moment, zone):%Y-%m-%d %H:%M}"

    day = clock(now)[:10]
    known = figures.of_account(root, account.name, day, now)
    of_domain = account.limits.domain_recipients_per_day
    domain_used = figures.sent_by_domain(root, account.domain, day) if of_domain else 0
    yield from _today(account, known.sent, domain_used, day)
    yield from _ways(account, known.ways, now, clock)
    for refused in known.refusals:
        yield (
            f"refused {clock(refused.at)}: {refused.reason} (limit {refused.limit},"
            f" reached {refused.reached}), from {refused.sender or '<>'}"
            f" to {refused.recipient or 'several'}"
            + (f"; {refused.times} times that day" if refused.times > 1 else "")
        )
    for guessed in known.guessed:
        yield from _guesses(guessed, now, clock)


def guessing(root: Path, now: float) -> Iterator[str]:
    """Yield the addresses from which logins are refused now. Raises FiguresError."""
    for place in figures.refused_places(root, now):
        yield f"{place.network}  {place.wrong} wrong passwords within the hour"


def _today(
    account: AccountView, sent: list[figures.Sent], domain_used: int, day: str
) -> Iterator[str]:
    limits = account.limits
    used: Counter[tuple[str, str]] = Counter()
    for row in sent:
        used[row.address, row.way] += row.recipients
    yield f"{day}: {used.total()} of {limits.recipients_per_day} recipients"
    if limits.domain_recipients_per_day:
        yield f"{account.domain}: {domain_used} of {limits.domain_recipients_per_day} recipients"
    for (address, way), count in used.most_common():
        yield f"  {count} from {address} ({_WAYS_OF_SENDING[way]})"
    yield (
        f"a message: {limits.recipients_per_message} recipients,"
        f" {size(limits.message_bytes)}, to a list {size(limits.list_message_bytes)}"
    )


def _ways(
    account: AccountView, ways: list[figures.OpenWay], now: float, clock: _Clock
) -> Iterator[str]:
    if not account.pop_before_smtp:
        yield "sends with its password only"
        return
    still_open = [way for way in ways if way.until > now]
    for way in still_open:
        yield (
            f"open from {way.address} until {clock(way.until)}:"
            f" {way.way} login {clock(way.login_at)}"
        )
    if not still_open:
        yield "open from nowhere: no login by POP3 or IMAP counts now"


def _guesses(guessed: figures.Guessed, now: float, clock: _Clock) -> Iterator[str]:
    if guessed.refused_until > now:
        yield f"logins from strange addresses are refused until {clock(guessed.refused_until)}"
    for place in guessed.places:
        until = place.refused_until
        refused = f", refused until {clock(until)}" if until > now else ""
        yield f"{place.wrong} wrong passwords from {place.network}{refused}"
