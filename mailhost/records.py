"""What a mail server is told: mailboxes, addresses and domains, as plain records.

A record that exists is a record that passed its grammar: constructing one from
anything else raises RecordError. Its key names it on its server, and a change
of it carries a number; of two changes of one key the higher one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailhost import grammar

#: Postfix expands one recipient into at most this many (virtual_alias_expansion_limit).
MAX_DESTINATIONS = 1000
#: SQLite's largest integer: where change numbers and quotas end.
MAX_INTEGER = 2**63 - 1


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


def _value(record: Record) -> dict[str, Any]:
    # dataclasses.asdict() copies deeply, which takes ten times as long.
    return {name: getattr(record, name) for name in record.__slots__}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A POP account. `mailbox_id` (a new UUID's hex) names its directory for good."""

    name: str
    domain: str
    mailbox_id: str
    password_hash: str = field(repr=False)
    quota_bytes: int = 0

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_any_mailbox_name, self.name)
        _obey(grammar.check_domain, self.domain)
        _obey(grammar.check_address, self.address)
        _obey(grammar.check_mailbox_id, self.mailbox_id)
        _obey(grammar.check_password_hash, self.password_hash)
        if type(self.quota_bytes) is not int or not 0 <= self.quota_bytes <= MAX_INTEGER:
            raise RecordError("quota_bytes", f"not a number of bytes: {self.quota_bytes!a}")

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
    empty: where the domain's owner finds files.
    """

    name: str
    fixed_address: str
    home: str = ""

    def __post_init__(self) -> None:
        """Raise RecordError unless every field keeps its grammar."""
        _obey(grammar.check_domain, self.name)
        _obey(grammar.check_address, self.fixed_address)
        if self.fixed_address.startswith("@"):
            raise RecordError("address", f"no mailbox: {self.fixed_address!a}")
        _obey(grammar.check_home, self.home)

    @property
    def key(self) -> str:
        """Name the record on its server."""
        return f"domain:{self.name}"

    def value(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return _value(self)


Record = Mailbox | Address | HostedDomain

_KINDS: dict[str, type[Mailbox] | type[Address] | type[HostedDomain]] = {
    "mailbox": Mailbox,
    "address": Address,
    "domain": HostedDomain,
}


def record_from(key: str, value: Mapping[str, Any]) -> Record:
    """Return the record that `value()` gave as `value`.

    Raises RecordError if a field is missing, unknown or wrong, or if the record
    is not the one that `key` names.
    """
    kind = _KINDS.get(key.partition(":")[0])
    if kind is None:
        raise RecordError("key", f"no such kind of record: {key!a}")
    if value.keys() != set(kind.__slots__):
        raise RecordError("fields", f"fields of {key!a}: {sorted(value)!a}")
    values = dict(value)
    if isinstance(values.get("destinations"), list):
        values["destinations"] = tuple(values["destinations"])
    record = kind(**values)
    if record.key != key:
        raise RecordError("key", f"{key!a} holds {record.key!a}")
    return record


def check_key(key: str) -> None:
    """Raise RecordError unless some record could bear `key`."""
    kind, _, name = key.partition(":")
    if kind == "mailbox":
        _obey(grammar.check_any_mailbox_name, name)
    elif kind == "address":
        _obey(grammar.check_address, name)
    elif kind == "domain":
        _obey(grammar.check_domain, name)
    else:
        raise RecordError("key", f"no such kind of record: {key!a}")


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
        # The record may have been built around its own checks: build it anew.
        if not isinstance(self.record, Mailbox | Address | HostedDomain):
            raise RecordError("record", "not a record")
        record_from(self.key, self.record.value())
