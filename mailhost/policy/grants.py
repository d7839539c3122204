"""POP-before-SMTP: who may send from which IP address, because he received mail from there.

A login by POP3 or IMAP opens the way for one account and one address (of IPv6: its /64, which
is one customer's network by RFC 6177), for a while; each later login prolongs it. A grant holds
as long as the mailbox it was given to: with the mailbox deleted, or its password changed, it is
void from the moment the mail server knows, whatever is written here.

Times are UNIX seconds.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from mailhost.config import HostConfig
from mailhost.policy.changes import Changes
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import Directory

#: A grant that ends within so many seconds is held open by an IMAP session still there.
ENDING = 120.0
#: Seconds after its end, or the daemon's start, for which a session found may still do so.
LATE = 180.0
#: Seconds after its end for which a grant stays on record, for the panel to learn of its end.
ON_RECORD = 24 * 3600.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Places looked at between two pauses of `expire`: about a millisecond.
_STEP = 200
_COLUMNS = "account, network, address, way, mailbox_id, fingerprint, login_at, until"
_PUT = f"INSERT OR REPLACE INTO grant ({_COLUMNS}, changed) VALUES (?,?,?,?,?,?,?,?,?)"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM grant ORDER BY login_at"  # noqa: S608 (names above)


@lru_cache(maxsize=8192)
def network_of(address: str) -> str:
    """Return what counts as one sender's place: an IPv4 address, or the /64 of an IPv6 one.

    IPv4 written as IPv6 (::ffff:192.0.2.1) is IPv4. "" for what is no IP address.
    """
    host = _host(address)
    if host is None:
        return ""
    if host.version == 4:
        return str(host)
    return str(ipaddress.IPv6Network((int(host), 64), strict=False))


def networks_in(text: str) -> list[Network]:
    """Return the networks that a setting lists, with commas between."""
    return [ipaddress.ip_network(network) for network in filter(None, text.split(","))]


def lies_in(address: str, networks: Iterable[Network]) -> bool:
    """Say whether an IP address lies in one of these networks."""
    host = _host(address)
    return host is not None and any(host in network for network in networks)


def _host(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        host = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(host, "ipv4_mapped", None) or host


@dataclass(frozen=True, slots=True)
class Grant:
    """An open way: `account` may send from `network` until then.

    `address` and `way` ("pop3" or "imap") are those of the latest login, at `login_at`.
    `mailbox_id` and `fingerprint` say which mailbox logged in, and with which password.
    """

    account: str
    network: str
    address: str
    way: str
    mailbox_id: str
    fingerprint: str
    login_at: float
    until: float


class Grants:
    """All grants, in memory for speed and in the database for good."""

    def __init__(
        self,
        db: PolicyDatabase,
        directory: Directory,
        config: HostConfig,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take up what an earlier process left in the database."""
        self._db = db
        self._directory = directory
        self._seconds = config.window_minutes * 60.0
        self._on = config.pop_before_smtp
        self._shut = networks_in(config.no_window_networks)
        # By network, then account; of a network the latest login comes last.
        self._grants: dict[str, dict[str, Grant]] = {}
        self._begun = clock()
        highest = db.query("SELECT coalesce(max(changed), 0) FROM grant")[0][0]
        self._changes = Changes(highest, self._begun)
        for row in db.query(_ALL):
            grant = Grant(*row)
            # Whatever the clock or the setting was when it was written.
            self._keep(replace(grant, until=min(grant.until, self._begun + self._seconds)))

    def opened(self, account: str, address: str, now: float, way: str) -> bool:
        """A login by `way` came from there: open the way, or prolong it.

        Return whether it is open: not where this account, its plan, the server or the network
        has no POP-before-SMTP.
        """
        view = self._directory.account(account)
        network = network_of(address)
        if not network or view is None or not view.pop_before_smtp or not self.may_open(address):
            return False
        # The latest login is the last one here.
        self._grants.get(network, {}).pop(account, None)
        until = now + self._seconds
        self._put(
            Grant(account, network, address, way, view.mailbox_id, view.fingerprint, now, until)
        )
        return True

    def valid(self, address: str, now: float) -> list[Grant]:
        """Return the grants that hold for this client now, the latest login first."""
        here = self._grants.get(address)
        if here is None:
            here = self._grants.get(network_of(address))
        if not here or not self.may_open(address):
            return []
        return [
            grant for grant in reversed(here.values()) if grant.until > now and self._stands(grant)
        ]

    def ending(self, now: float) -> list[Grant]:
        """Return the grants that an open session would have to hold open now."""
        self._directory.refresh()
        return [
            grant
            for here in self._grants.values()
            for grant in here.values()
            if grant.until < now + ENDING and not self._is_past(grant, now)
        ]

    def extend(self, grant: Grant, now: float) -> None:
        """A session of this grant's account is still open from there: hold the way open."""
        current = self._grants.get(grant.network, {}).get(grant.account)
        if current == grant and self.may_open(grant.address) and self._stands(grant):
            self._put(replace(grant, until=now + self._seconds))

    def expire(self, now: float) -> Iterator[None]:
        """Forget what has ended, and end what no longer stands; in steps, pausing at each yield.

        To be called each minute.
        """
        self._directory.refresh()
        for number, network in enumerate(list(self._grants), 1):
            for grant in list(self._grants.get(network, {}).values()):
                if grant.until > now and not self._stands(grant):
                    self._put(replace(grant, until=now))
                elif self._is_past(grant, now):
                    self._drop(grant)
            if number % _STEP == 0:
                yield
        self._db.soon("DELETE FROM grant WHERE until < ?", (now - ON_RECORD,))

    def may_open(self, address: str) -> bool:
        """Say whether a login from there opens anything, on this server and in this network."""
        return self._on and not (self._shut and lies_in(address, self._shut))

    def _is_past(self, grant: Grant, now: float) -> bool:
        """Say whether it is too late for a session to hold it open.

        A grant that ended while no daemon ran is looked at once more: its session may go on.
        """
        return max(grant.until, self._begun) + LATE < now

    def _stands(self, grant: Grant) -> bool:
        """Say whether the mailbox is the one that logged in, with the password it had."""
        view = self._directory.account(grant.account)
        return (
            view is not None
            and view.mailbox_id == grant.mailbox_id
            and view.fingerprint == grant.fingerprint
            and view.pop_before_smtp
        )

    def _put(self, grant: Grant) -> None:
        self._keep(grant)
        values = tuple(getattr(grant, name) for name in Grant.__slots__)
        self._db.soon(_PUT, (*values, self._changes.next()))

    def _keep(self, grant: Grant) -> None:
        self._grants.setdefault(grant.network, {})[grant.account] = grant

    def _drop(self, grant: Grant) -> None:
        here = self._grants[grant.network]
        del here[grant.account]
        if not here:
            del self._grants[grant.network]
