"""One private Postfix and Dovecot for all tests here; each test has domains of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailhost.host import Outcome, Status
from mailhost.instance import missing_programs
from mailhost.records import Address, Entry, HostedDomain, Mailbox, Record
from tests.servers import PASSWORD, MailServer, mail_server, mailbox

_numbers = itertools.count(1)


@dataclass
class Site:
    """A domain with its fixed mailbox on the shared server, and short words for changes."""

    server: MailServer
    domain: str
    fixed: Mailbox
    changes: dict[str, int] = field(default_factory=dict)

    def put(self, *records: Record) -> dict[str, Outcome]:
        """Apply records by one batch."""
        return self.apply([Entry(r.key, next(_numbers), r) for r in records])

    def delete(self, *records: Record) -> dict[str, Outcome]:
        """Delete records by one batch."""
        return self.apply([Entry(r.key, next(_numbers), None) for r in records])

    def apply(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """Apply entries with the lock held."""
        with self.server.host.lock():
            return self.server.host.apply(entries)

    def entry(self, record: Record) -> Entry:
        """Return an entry with a new change number."""
        return Entry(record.key, next(_numbers), record)

    def mailbox(
        self, word: str, password: str = PASSWORD, mailbox_id: str = "", **fields: Any
    ) -> Mailbox:
        """Return a mailbox of this domain whose name no other test has."""
        name = f"{word}-{self.fixed.name}"
        return mailbox(name, self.domain, password, mailbox_id, **fields)

    def address(self, local_part: str, *destinations: str) -> Address:
        """Return a forwarding address of this domain."""
        return Address(local_part, self.domain, destinations)

    def at(self, local_part: str) -> str:
        """Return an address of this domain."""
        return f"{local_part}@{self.domain}"


def applied(outcomes: dict[str, Outcome]) -> bool:
    """Say whether every entry was confirmed by the servers."""
    return {outcome.status for outcome in outcomes.values()} == {Status.APPLIED}


@pytest.fixture(scope="session")
def server() -> Iterator[MailServer]:
    """A running mail server, shared by the session."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(postmaster="operator@outside.test") as running:
        yield running


def new_site(
    server: MailServer, *others: Record, owner: str = "", plan: str = "", **fields: Any
) -> Site:
    """Put a new domain on the server, its fixed mailbox with these `fields`, and other records."""
    name = f"site{next(_numbers)}"
    domain = f"{name}.example.com"
    site = Site(server, domain, mailbox(name, domain, **fields))
    hosted = HostedDomain(domain, site.fixed.address, owner=owner, plan=plan)
    outcomes = site.put(*others, hosted, site.fixed)
    assert applied(outcomes), outcomes
    return site


@pytest.fixture
def site(server: MailServer) -> Site:
    """A new domain on the server."""
    return new_site(server)
