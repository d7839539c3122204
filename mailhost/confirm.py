"""Did it become true? Postfix's maps and Dovecot are asked, in one batch each.

Only the keys of the entries at hand are asked for, so the cost is that of the
batch and not of the server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

from mailhost import dovecot
from mailhost.dovecot import Doveadm, NoAnswer, User
from mailhost.ftp import Ftp
from mailhost.maps import MapError, Maps, answers
from mailhost.records import (
    Address,
    AutoReply,
    Entry,
    Mailbox,
    MailingList,
    Webmail,
    list_addresses,
)
from mailhost.replies import Scripts
from mailhost.store import Store, derived_addresses
from mailhost.webmail.asking import serves

Place = tuple[str, str]
#: Records that work on a server that hosts their domain.
OF_A_DOMAIN = Mailbox | Address | MailingList | Webmail | AutoReply


class Confirmer:
    """Asks one server's backends about entries that the store has taken; to be used once."""

    def __init__(
        self,
        store: Store,
        maps: Maps,
        doveadm: Doveadm,
        ftp: Ftp,
        scripts: Scripts,
        webmail_port: int,
    ) -> None:
        """Take what it asks; webmail by HTTP, on a port of this machine."""
        self._webmail_port = webmail_port
        self._ftp = ftp
        self._scripts = scripts
        self._store = store
        self._maps = maps
        self._doveadm = doveadm
        self._ahead: dovecot.Asked = []

    def __enter__(self) -> Self:
        """Let no question outlive the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Wait for what is still being asked."""
        self._answered_ahead()

    def ask_ahead(self, entries: Iterable[Entry]) -> None:
        """Start asking Dovecot for mailboxes that were just written, while maps are made.

        It reads them from the store itself, and for many it takes as long as a map.
        """
        written = (entry.record for entry in entries)
        names = [record.name for record in written if isinstance(record, Mailbox)]
        self._ahead = self._doveadm.ask_users(names)

    def problems(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return why entries are not confirmed, by key; none for those that are.

        A map that gives another answer than the store is marked to be mended.
        """
        trashed = self._store.trash.held(list(filter(None, map(_address, entries))))
        places = {entry.key: list(self._places(entry, trashed)) for entry in entries}
        asked = self._doveadm.ask_users(self._not_yet_asked(entries))
        keys = _by_map(place for some in places.values() for place in some)
        found, silent = self._ask_maps(keys)
        wanted = {
            (name, key): value
            for name, asked_for in keys.items()
            for key, value in self._store.lines.of(name, asked_for).items()
        }
        outdated = self._wrong_in_ftp([_name(entry) for entry in entries if _is_mailbox(entry)])
        hosted = self._store.lines.of("domains", list({_domain(entry) for entry in entries}))
        # Last, for of many mailboxes it takes Dovecot longest to tell.
        users, deaf = self._users(entries, asked)
        problems = self._wrong_in_webmail(entries) | self._wrong_replies(entries)
        for entry in entries:
            problem = silent or self._differs(places[entry.key], wanted, found)
            problem = problem or _idle(entry, hosted, wanted)
            if not problem and _is_mailbox(entry):
                problem = deaf or self._wrong_user(entry, users)
                problem = problem or outdated.get(_name(entry), "")
            if problem:
                problems[entry.key] = problem
        return problems

    def _answered_ahead(self) -> dict[str, User]:
        """Return what Dovecot said while the maps were made; nothing if it did not answer."""
        asked, self._ahead = self._ahead, []
        try:
            return dovecot.users(asked)
        except NoAnswer:
            return {}

    def _not_yet_asked(self, entries: Iterable[Entry]) -> list[str]:
        """Return the names of mailboxes that Dovecot is not being asked for already."""
        late = (entry for entry in entries if entry.record is None or not self._ahead)
        return [_name(entry) for entry in late if _is_mailbox(entry)]

    def _users(self, entries: Iterable[Entry], asked: dovecot.Asked) -> tuple[dict[str, User], str]:
        """Return what Dovecot says of mailboxes, or why it does not.

        Whoever it does not know by an answer given ahead is asked for once more.
        """
        try:
            users = self._answered_ahead() | dovecot.users(asked)
            boxes = (entry for entry in entries if isinstance(entry.record, Mailbox))
            again = [_name(entry) for entry in boxes if self._wrong_user(entry, users)]
            return users | dovecot.users(self._doveadm.ask_users(again)), ""
        except NoAnswer as error:
            return {}, f"Dovecot did not answer: {error}"

    def _places(self, entry: Entry, trashed: Collection[str]) -> Iterable[Place]:
        """Yield the map lines that an entry is about; `trashed`: addresses of deleted mailboxes."""
        kind, _, name = entry.key.partition(":")
        if kind == "domain":
            yield "domains", name
            yield from (("aliases", address) for address in derived_addresses(name))
        elif kind == "address":
            yield "aliases", name
            if name in trashed:
                yield "refused", name
        elif kind == "list":
            for address in list_addresses(name):
                yield from (("mailboxes", address), ("transport", address))
        elif kind in ("plan", "webmail", "reply"):
            return
        elif isinstance(entry.record, Mailbox):
            yield "mailboxes", entry.record.address
            if entry.record.address in trashed:
                yield "refused", entry.record.address
        else:
            for address in self._store.trash.addresses_of(name):
                yield from (("mailboxes", address), ("aliases", address), ("refused", address))

    def _ask_maps(self, keys: Mapping[str, list[str]]) -> tuple[dict[Place, str], str]:
        """Look up the keys, all maps at once; return what was found, or why nothing was."""
        asked = {name: self._maps.ask(name, wanted) for name, wanted in keys.items()}
        found: dict[Place, str] = {}
        silent = ""
        for name, running in asked.items():
            try:
                found |= {(name, key): value for key, value in answers(running).items()}
            except MapError as error:
                silent = f"Postfix's maps did not answer: {error}"
        return found, silent

    def _differs(
        self, places: Iterable[Place], wanted: Mapping[Place, str], found: Mapping[Place, str]
    ) -> str:
        for place in places:
            if wanted.get(place) != found.get(place):
                self._store.lines.mark_dirty([place])
                return f"Postfix gives another answer for {place[1]}"
        return ""

    def _wrong_in_ftp(self, names: Sequence[str]) -> dict[str, str]:
        """Return what is wrong about these accounts in ProFTPD's database, and have it mended."""
        if not names:
            return {}
        wanted, held = self._store.ftp.of(names), self._ftp.of(names)
        wrong = [name for name in names if wanted.get(name) != held.get(name)]
        self._store.ftp.mark_dirty(wrong)
        return dict.fromkeys(wrong, "ProFTPD's database says something else about the account")

    def _wrong_in_webmail(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return what webmail's web server does otherwise, by the entry's key."""
        asked = {_name(one): one for one in entries if one.key.startswith("webmail:")}
        if not asked:
            return {}
        served = serves(self._webmail_port, asked) if self._webmail_port else {}
        problems = {}
        for domain, entry in asked.items():
            if domain not in served:
                problems[entry.key] = "webmail does not answer"
            elif served[domain] != (entry.record is not None):
                does = "serves" if served[domain] else "does not serve"
                problems[entry.key] = f"webmail {does} the domain"
                self._store.webmail.mark_dirty([domain])
        return problems

    def _wrong_replies(self, entries: Iterable[Entry]) -> dict[str, str]:
        """Return which auto-replies are not as the store has them, and have them mended."""
        problems = {}
        for entry in entries:
            if not entry.key.startswith("reply:"):
                continue
            name = _name(entry)
            reply = self._store.replies.of(name)
            if reply is None and entry.record is not None:
                problems[entry.key] = f"there is no such mailbox as the auto-reply of {name} is for"
                continue
            ids = [reply.record.mailbox_id] if reply else self._store.replies.ids_of([name])
            wanted = self._scripts.line(reply) if reply else ""
            if any(self._scripts.found(mailbox_id) != wanted for mailbox_id in ids):
                self._store.replies.mark_dirty([name])
                problems[entry.key] = f"the auto-reply of {name} is not in place"
        return problems

    def _wrong_user(self, entry: Entry, users: dict[str, User]) -> str:
        user = users.get(_name(entry))
        if not isinstance(entry.record, Mailbox):
            return "Dovecot still knows the mailbox" if user else ""
        if user is None:
            return "Dovecot does not know the mailbox"
        if user != User(entry.change, entry.record.mailbox_id):
            return "Dovecot knows another state of the mailbox"
        return ""


def _idle(entry: Entry, hosted: Collection[str], wanted: Mapping[Place, str]) -> str:
    """Say why a record that is written everywhere takes no mail yet."""
    record = entry.record
    if isinstance(record, OF_A_DOMAIN) and record.domain not in hosted:
        return f"{record.domain} is not a domain of this server"
    if isinstance(record, Address) and ("aliases", record.address) not in wanted:
        return f"{record.address} leads to itself alone, and there is no such mailbox"
    return ""


def _by_map(places: Iterable[Place]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for name, key in dict.fromkeys(places):
        keys[name].append(key)
    return keys


def _is_mailbox(entry: Entry) -> bool:
    return entry.key.startswith("mailbox:")


def _name(entry: Entry) -> str:
    return entry.key.partition(":")[2]


def _address(entry: Entry) -> str:
    """Return the address that an entry of a mailbox or a forwarding address is about, or ""."""
    if isinstance(entry.record, Mailbox):
        return entry.record.address
    return _name(entry) if entry.key.startswith("address:") else ""


def _domain(entry: Entry) -> str:
    """Return the domain that has to be hosted for the record to work, or ""."""
    record = entry.record
    return record.domain if isinstance(record, OF_A_DOMAIN) else ""
