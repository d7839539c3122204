"""What a mail server is told, as plain records: plans, domains, mailboxes, addresses, webmail, and
auto-replies.

A record that exists is a record that passed its grammar: constructing one from
anything else raises RecordError. Its key names it on its server, and a change
of it carries a number; of two changes of one key the higher one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from mailhost import grammar

#: Postfix expands one recipient into at most this many (virtual_alias_expansion_limit).
MAX_DESTINATIONS = 1000
#: SQLite's largest integer: where change numbers and quotas end.
MAX_INTEGER = 2**63 - 1
#: Days for which a sender who got an auto-reply gets no other, at most.
MAX_REPLY_DAYS = 30
#: Auto-replies of one mailbox within an hour: less a day than the 1,000 recipients of the manual.
MAX_REPLIES_AN_HOUR = 30


class RecordError(ValueError):
    """A record that may not exist; `kind` is the grammar or the field that refused it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _obey(check: Callable[[str], None], text: str) -> None:
    try:
        check(text)
    except grammar.GrammarError as error:
        raise RecordError(error.kind, str(error)) from error


def _obey_limit(kind: str, value: int, least: int = 0) -> None:
    if type(value) is not int or not least <= value <= MAX_INTEGER:
        raise RecordError(kind, f"not a number of at least {least}: {value!a}")


def _obey_switch(kind: str, value: bool) -> None:
    if type(value) is not bool:
        raise RecordError(kind, f"neither yes nor no: {value!a}")


def _value(record: Record) -> dict[str, Any]:
    # dataclasses.asdict() copies deeply, which takes ten times as long.
    return {name: getattr(record, name) for name in record.__slots__}


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What an account of a plan may hold and send; the manual's section 5, points 4 to 7.

    Sizes are in bytes, recipients are counted per message and per calendar day of the
    server's time zone. `domain_recipients_per_day` counts all accounts of one domain
    together; 0: they are not counted together.
    """

    code: str
    mailbox_bytes: int = 10 * 1024 * 1024
    message_bytes: int = 3 * 1024 * 1024
    list_message_bytes: int = 75 * 1024
    recipients_per_message: int = 100
    recipients_per_day: int = 1000
    domain_recipients_per_day: int = 0
    pop_before_smtp: bool = True

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_plan_code, self.code)
        for name in ("mailbox_bytes", "message_bytes", "list_message_bytes"):
            _obey_limit(name, getattr(self, name), 1)
        for name in ("recipients_per_message", "recipients_per_day"):
            _obey_limit(name, getattr(self, name), 1)
        _obey_limit("domain_recipients_per_day", self.domain_recipients_per_day)
        _obey_switch("pop_before_smtp", self.pop_before_smtp)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"plan:{self.code}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A POP account. `mailbox_id` (a new UUID's hex) names its directory for good.

    A limit of 0 is the one of the domain's plan. `pop_before_smtp` can switch off for this
    account what the plan allows, never the other way. `ftp` lets it reach its domain's home by
    FTP and SFTP, `ssh` lets it read its mail by SSH.
    """

    name: str
    domain: str
    mailbox_id: str
    password_hash: str = field(repr=False)
    quota_bytes: int = 0
    message_bytes: int = 0
    list_message_bytes: int = 0
    recipients_per_message: int = 0
    recipients_per_day: int = 0
    pop_before_smtp: bool = True
    ftp: bool = False
    ssh: bool = False

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_any_mailbox_name, self.name)
        _obey(grammar.check_domain, self.domain)
        _obey(grammar.check_address, self.address)
        _obey(grammar.check_mailbox_id, self.mailbox_id)
        _obey(grammar.check_password_hash, self.password_hash)
        for name in ("quota_bytes", "message_bytes", "list_message_bytes"):
            _obey_limit(name, getattr(self, name))
        for name in ("recipients_per_message", "recipients_per_day"):
            _obey_limit(name, getattr(self, name))
        _obey_switch("pop_before_smtp", self.pop_before_smtp)
        _obey_switch("ftp", self.ftp)
        _obey_switch("ssh", self.ssh)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"mailbox:{self.name}"

    @property
    def address(self) -> str:
        """The address that mail for this mailbox carries."""
        return f"{self.name}@{self.domain}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


@dataclass(frozen=True, slots=True)
class Address:
    """A forwarding address; an empty `local_part` is the domain's catch-all.

    An address that names itself as one destination keeps a copy in the mailbox
    of the same address.
    """

    local_part: str
    domain: str
    destinations: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        if self.local_part != "":
            _obey(grammar.check_local_part, self.local_part)
        _obey(grammar.check_domain, self.domain)
        _obey(grammar.check_address, self.address)
        if not isinstance(self.destinations, tuple):
            raise RecordError("destinations", "destinations are not a tuple")
        if not 1 <= len(self.destinations) <= MAX_DESTINATIONS:
            raise RecordError("destinations", f"{len(self.destinations)} destinations")
        for destination in self.destinations:
            _obey(grammar.check_destination, destination)
        if len({text.lower() for text in self.destinations}) < len(self.destinations):
            raise RecordError("destinations", "a destination is named twice")

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"address:{self.address}"

    @property
    def address(self) -> str:
        """The address that is forwarded; "@DOMAIN" for the catch-all."""
        return f"{self.local_part}@{self.domain}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self) | {"destinations": list(self.destinations)}


@dataclass(frozen=True, slots=True)
class HostedDomain:
    """A domain whose mail this server takes.

    postmaster@, abuse@ and FIRSTLABEL@ lead to `fixed_address` unless a mailbox
    or an Address of that name exists. `home` is a path below `homes_root`, or
    empty: where the domain's owner finds files. Domains with one `owner` (a word of the
    panel's) belong to one customer; empty: to nobody known. `plan` is a PlanLimits' code.
    """

    name: str
    fixed_address: str
    home: str = ""
    owner: str = ""
    plan: str = ""

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_domain, self.name)
        _obey(grammar.check_address, self.fixed_address)
        if self.fixed_address.startswith("@"):
            raise RecordError("address", f"no mailbox: {self.fixed_address!a}")
        _obey(grammar.check_home, self.home)
        if self.owner != "":
            _obey(grammar.check_owner, self.owner)
        if self.plan != "":
            _obey(grammar.check_plan_code, self.plan)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"domain:{self.name}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


@dataclass(frozen=True, slots=True)
class MailingList:
    """An address that sends what it gets to each of its members, none seeing the others.

    Who may post is `posters`: "anyone", "members", or "owner" (`owner_address` alone).
    `leave_url` with a token made by `leave_key` is a link by which a member leaves.
    """

    local_part: str
    domain: str
    title: str
    owner_address: str
    posters: str = "members"
    members: tuple[str, ...] = ()
    leave_url: str = ""
    leave_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_local_part, self.local_part)
        _obey(grammar.check_domain, self.domain)
        _obey(grammar.check_address, self.address)
        _obey(grammar.check_local_part, self.bounce_address.partition("@")[0])
        _obey(grammar.check_address, self.bounce_address)
        _obey(grammar.check_title, self.title)
        _obey(grammar.check_destination, self.owner_address)
        if self.posters not in POSTERS:
            raise RecordError("posters", f"not one of {POSTERS}: {self.posters!a}")
        if not isinstance(self.members, tuple) or len(self.members) > MAX_DESTINATIONS:
            raise RecordError("members", "members are no tuple, or too many")
        for member in self.members:
            _obey(grammar.check_destination, member)
        if len({member.lower() for member in self.members}) < len(self.members):
            raise RecordError("members", "a member is named twice")
        if self.leave_url != "":
            _obey(grammar.check_url, self.leave_url)
        if self.leave_key != "":
            _obey(grammar.check_leave_key, self.leave_key)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"list:{self.address}"

    @property
    def bounce_address(self) -> str:
        """The envelope sender of the list's mail: what cannot be delivered comes back there."""
        return list_addresses(self.address)[1]

    @property
    def addresses(self) -> tuple[str, str]:
        """Return both addresses of the list: `address` and `bounce_address`."""
        return list_addresses(self.address)

    @property
    def address(self) -> str:
        """The address that members post to."""
        return f"{self.local_part}@{self.domain}"

    def admits(self, sender: str) -> bool:
        """Say whether the holder of this address may write to the list."""
        allowed = allowed_posters(self.posters, self.owner_address, self.members)
        return allowed is None or sender.lower() in allowed

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self) | {"members": list(self.members)}


def list_addresses(address: str) -> tuple[str, str]:
    """Return the addresses of the mailing list `address`: its own, and that of its bounces."""
    local_part, _, domain = address.rpartition("@")
    return address, f"{local_part}-bounces@{domain}"


def allowed_posters(
    posters: str, owner_address: str, members: Sequence[str]
) -> frozenset[str] | None:
    """Return who may write to a list, in lower case; None: anyone."""
    if posters == "anyone":
        return None
    more = members if posters == "members" else ()
    return frozenset(address.lower() for address in (owner_address, *more))


def posters_only(posters: str, address: str) -> str:
    """Return what a refusal says of a list that not anyone may write to."""
    who = "its owner" if posters == "owner" else "its members"
    return f"{who} may write to the list {address}"


@dataclass(frozen=True, slots=True)
class Webmail:
    """That a domain has webmail: its accounts read and send mail in the browser."""

    domain: str

    def __post_init__(self) -> None:
        """Raise RecordError unless the domain keeps its grammar."""
        _obey(grammar.check_domain, self.domain)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"webmail:{self.domain}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


@dataclass(frozen=True, slots=True)
class AutoReply:
    """What a mailbox answers by itself to who writes to it (RFC 5230).

    From the day `starts` to the day `ends`, both included and of the server's time zone; empty:
    no such bound. Each sender gets it once in `days` days. `mailbox_id` is that of the mailbox
    it was written for: who gets the name later does not answer by it.
    """

    name: str
    domain: str
    mailbox_id: str
    subject: str
    text: str
    starts: str = ""
    ends: str = ""
    days: int = 7

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_any_mailbox_name, self.name)
        _obey(grammar.check_domain, self.domain)
        _obey(grammar.check_address, self.address)
        _obey(grammar.check_mailbox_id, self.mailbox_id)
        _obey(grammar.check_subject, self.subject)
        _obey(grammar.check_letter, self.text)
        for day in filter(None, (self.starts, self.ends)):
            _obey(grammar.check_day, day)
        if self.starts and self.ends and self.ends < self.starts:
            raise RecordError("ends", f"ends {self.ends} before it starts {self.starts}")
        _obey_limit("days", self.days, 1)
        if self.days > MAX_REPLY_DAYS:
            raise RecordError("days", f"more than {MAX_REPLY_DAYS} days: {self.days}")

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"reply:{self.name}"

    @property
    def address(self) -> str:
        """The address of the mailbox."""
        return f"{self.name}@{self.domain}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


#: Who may post to a list.
POSTERS = ("anyone", "members", "owner")

Record = PlanLimits | HostedDomain | Mailbox | Address | MailingList | Webmail | AutoReply

_KINDS: dict[str, type[Record]] = {
    "plan": PlanLimits,
    "domain": HostedDomain,
    "mailbox": Mailbox,
    "address": Address,
    "list": MailingList,
    "webmail": Webmail,
    "reply": AutoReply,
}
# The fields that a record of each kind must have, and those that it may have.
_FIELDS: dict[type[Record], tuple[frozenset[str], frozenset[str]]] = {
    kind: (
        frozenset(item.name for item in fields(kind) if item.default is MISSING),
        frozenset(kind.__slots__),
    )
    for kind in _KINDS.values()
}
_CHECKS: dict[str, Callable[[str], None]] = {
    "plan": grammar.check_plan_code,
    "domain": grammar.check_domain,
    "mailbox": grammar.check_any_mailbox_name,
    "address": grammar.check_address,
    "list": grammar.check_address,
    "webmail": grammar.check_domain,
    "reply": grammar.check_any_mailbox_name,
}
# JSON has no tuples.
_TUPLES = ("destinations", "members")


def record_from(key: str, value: Mapping[str, Any]) -> Record:
    """Return the record that `value()` gave as `value`.

    A field may be missing if it has a default: it came after the record was written.
    Raises RecordError if another is missing, one is unknown or wrong, or if the record is
    not the one that `key` names.
    """
    kind = _KINDS.get(key.partition(":")[0])
    if kind is None:
        raise RecordError("key", f"no such kind of record: {key!a}")
    needed, known = _FIELDS[kind]
    if not needed <= value.keys() <= known:
        raise RecordError("fields", f"fields of {key!a}: {sorted(value)!a}")
    values = dict(value)
    for name in _TUPLES:
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    record = kind(**values)
    if record.key != key:
        raise RecordError("key", f"{key!a} holds {record.key!a}")
    return record


def check_key(key: str) -> None:
    """Raise RecordError unless some record could bear `key`."""
    kind, _, name = key.partition(":")
    check = _CHECKS.get(kind)
    if check is None:
        raise RecordError("key", f"no such kind of record: {key!a}")
    _obey(check, name)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a server shall hold as `key`, by the change of that number; None deletes."""

    key: str
    change: int
    record: Record | None

    def check(self) -> None:
        """Raise RecordError unless key, number and record fit together."""
        check_key(self.key)
        if type(self.change) is not int or not 0 < self.change <= MAX_INTEGER:
            raise RecordError("change", f"not a change number: {self.change!a}")
        if self.record is None:
            return
        # The record may have been built around its own checks: do them again.
        if not isinstance(self.record, Record):
            raise RecordError("record", "not a record")
        self.record.__post_init__()
        if self.record.key != self.key:
            raise RecordError("key", f"{self.key!a} holds {self.record.key!a}")
