"""Whose account it is, what it may do, and where addresses lead: read from the server's store.

Answers are kept until the store changes, which SQLite tells by one small question
(`PRAGMA data_version`), asked once for all requests that come together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mailhost.records import allowed_posters
from mailhost.store.reader import MOST_STEPS, Reader
from mailhost.usage.known import Known

#: Answers kept at once, of each kind.
_MOST_KEPT = 50_000
#: Lists whose members are kept at once: each may have a thousand.
_MOST_LISTS = 200
# Longer than any address (RFC 5321, 4.5.3.1), name or domain: not worth asking, nor keeping.
_LONGEST = 254


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may send; sizes in bytes, 0 of `domain_recipients_per_day`: no limit."""

    message_bytes: int
    list_message_bytes: int
    recipients_per_message: int
    recipients_per_day: int
    domain_recipients_per_day: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as the sending rules see it; `fingerprint` changes with the password."""

    name: str
    address: str
    domain: str
    owner: str
    mailbox_id: str
    fingerprint: str
    limits: Limits
    pop_before_smtp: bool


@dataclass(frozen=True, slots=True)
class ListView:
    """A mailing list, who may post, and how many bytes its plan lets strangers post at most."""

    address: str
    message_bytes: int
    posters: str


class Directory(Reader):
    """The store, read only, with its answers kept."""

    def __init__(self, store: Path, known: Known | None = None) -> None:
        """Open the store, which `init` has made; `known` is who is full, nobody without it."""
        super().__init__(store)
        self._known = known
        #: Another number whenever the store has changed.
        self.version = -1
        self._accounts: dict[str, AccountView | None] = {}
        self._senders: dict[tuple[str, str], bool] = {}
        self._lists: dict[str, tuple[ListView, ...]] = {}
        self._allowed: dict[str, frozenset[str] | None] = {}
        self._hosted: dict[str, bool] = {}
        self._full: dict[str, bool] = {}
        self._full_at = 0.0

    def refresh(self) -> None:
        """Forget the answers if the store has changed since, or if they are too many."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        kept: tuple[dict[Any, Any], ...] = (
            self._accounts,
            self._senders,
            self._lists,
            self._allowed,
            self._hosted,
            self._full,
        )
        if version != self.version or max(map(len, kept)) > _MOST_KEPT:
            self.version = version
            for answers in kept:
                answers.clear()

    def account(self, name: str) -> AccountView | None:
        """Return the account of this name, None if there is none."""
        try:
            return self._accounts[name]
        except KeyError:
            if len(name) > _LONGEST:
                return None
            found = self._accounts[name] = self._account(name)
            return found

    def is_hosted(self, domain: str) -> bool:
        """Say whether this server takes the domain's mail."""
        try:
            return self._hosted[domain]
        except KeyError:
            if len(domain) > _LONGEST:
                return False
            query = "SELECT 1 FROM domain WHERE name = ?"
            found = self._db.execute(query, (domain,)).fetchone() is not None
            self._hosted[domain] = found
            return found

    def may_send(self, account: AccountView, sender: str) -> bool:
        """Say whether `sender`, in lower case, is the account's own or leads to its mailbox.

        An address has to be of one of the same customer's domains; a catch-all leads nowhere.
        """
        if sender == account.address:
            return True
        asked = (account.name, sender)
        try:
            return self._senders[asked]
        except KeyError:
            if len(sender) > _LONGEST:
                return False
            found = self._senders[asked] = self._leads_to(account, sender)
            return found

    def lists_behind(self, recipient: str) -> tuple[ListView, ...]:
        """Return the mailing lists that mail for `recipient`, folded, comes to."""
        try:
            return self._lists[recipient]
        except KeyError:
            if len(recipient) > _LONGEST or not self.is_hosted(recipient.rpartition("@")[2]):
                return ()
            found = self._lists[recipient] = self._find_lists(recipient)
            return found

    def may_post(self, mailing_list: ListView, sender: str) -> bool:
        """Say whether the list takes mail by this envelope sender, in lower case."""
        if mailing_list.posters == "anyone":
            return True
        address = mailing_list.address
        if address not in self._allowed:
            if len(self._allowed) >= _MOST_LISTS:
                self._allowed.clear()
            value = self.value(f"list:{address}")
            self._allowed[address] = allowed_posters(
                value.get("posters", "members"), value["owner_address"], value.get("members", ())
            )
        allowed = self._allowed[address]
        return allowed is None or sender in allowed

    def is_full(self, recipient: str, now: float) -> bool:
        """Say whether every place that mail for `recipient`, folded, comes to is a full mailbox.

        As far as the figures can be believed at a moment `now` (UNIX seconds).
        A list, an address elsewhere, the catch-all's way and what is not known are none.
        """
        if self._known is None:
            return False
        if now != self._full_at:
            # Once for all requests that come together, and not for those about other servers.
            self._full_at = now
            if self._known.refresh(now):
                self._full.clear()
        if not self._known.is_current(now):
            return False
        try:
            return self._full[recipient]
        except KeyError:
            if len(recipient) > _LONGEST:
                return False
            found = self._full[recipient] = self._all_full(recipient, self._known)
            return found

    # Records

    def _account(self, name: str) -> AccountView | None:
        box = self.value(f"mailbox:{name}")
        if not box:
            return None
        plan = self.plan_of(box["domain"])
        own = {
            field: box.get(field) or getattr(plan, field)
            for field in (
                "message_bytes",
                "list_message_bytes",
                "recipients_per_message",
                "recipients_per_day",
            )
        }
        return AccountView(
            name=name,
            address=f"{name}@{box['domain']}",
            domain=box["domain"],
            owner=self.value(f"domain:{box['domain']}").get("owner", ""),
            mailbox_id=box["mailbox_id"],
            fingerprint=hashlib.sha256(box["password_hash"].encode()).hexdigest()[:16],
            limits=Limits(**own, domain_recipients_per_day=plan.domain_recipients_per_day),
            pop_before_smtp=plan.pop_before_smtp and box.get("pop_before_smtp", True),
        )

    # Where addresses lead

    def _leads_to(self, account: AccountView, sender: str) -> bool:
        local_part, _, domain = sender.rpartition("@")
        if not local_part or not self._same_owner(account, domain):
            return False
        return any(account.address in level for level in self.steps(sender))

    def _same_owner(self, account: AccountView, domain: str) -> bool:
        if domain == account.domain:
            return True
        return bool(account.owner) and self.value(f"domain:{domain}").get("owner") == account.owner

    def _all_full(self, recipient: str, known: Known) -> bool:
        seen, waiting = {recipient}, [(recipient, 0)]
        while waiting:
            address, depth = waiting.pop()
            onward = self.destinations(address)
            # An address that names itself keeps a copy in its own mailbox.
            if (not onward or address in onward) and not self._holds_full(address, known):
                return False
            if depth >= MOST_STEPS and onward:
                return False
            waiting += [(to, depth + 1) for to in onward if to not in seen]
            seen.update(onward)
        return True

    def _holds_full(self, address: str, known: Known) -> bool:
        query = "SELECT mailbox_id FROM mailbox WHERE address = ? AND state <> 'closing'"
        row = self._db.execute(query, (address,)).fetchone()
        return row is not None and known.is_full(row[0])

    def _find_lists(self, recipient: str) -> tuple[ListView, ...]:
        found: dict[str, ListView] = {}
        for level in chain([[recipient]], self.steps(recipient, self._next)):
            for address in level:
                if value := self.value(f"list:{address}"):
                    found[address] = self._list(address, value)
        return tuple(found.values())

    def _list(self, address: str, value: dict[str, Any]) -> ListView:
        most = self.plan_of(address.rpartition("@")[2]).list_message_bytes
        return ListView(address, most, value.get("posters", "members"))

    def _next(self, address: str) -> list[str]:
        """Return where mail for `address` goes next, the catch-all's way included."""
        domain = address.rpartition("@")[2]
        if not self.is_hosted(domain):
            return []
        if found := self.destinations(address):
            return found
        query = "SELECT 1 FROM mailbox WHERE address = ? AND state <> 'closing'"
        mailbox = self._db.execute(query, (address,)).fetchone()
        if mailbox or address.startswith("@") or self.value(f"list:{address}"):
            return []
        return self.destinations(f"@{domain}")
