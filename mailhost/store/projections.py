"""What follows from the records: mailboxes, addresses and domains, as tables of their own.

Postfix's maps are rendered from them and Dovecot reads them, so they change in the
transaction that changes the records.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from mailhost.records import Address, Entry, HostedDomain, Mailbox, MailingList
from mailhost.store.records import Changed, Records
from mailhost.store.trash import Trash

#: Every domain has these, leading to its fixed account (RFC 2142).
DUTIES = ("postmaster", "abuse")


def derived_addresses(domain: str) -> tuple[str, ...]:
    """Return the addresses that lead to a domain's fixed account by themselves."""
    names = (*DUTIES, domain.partition(".")[0])
    return tuple(dict.fromkeys(f"{name}@{domain}" for name in names))


def _mailbox_line(*values: object) -> str:
    """Return a mailbox's fields for comparison; of the hash only a digest."""
    name, domain, mailbox_id, password_hash, quota, change, ftp, ssh = values
    digest = hashlib.sha256(str(password_hash).encode()).hexdigest()[:12]
    switches = f"{' ftp' if ftp else ''}{' ssh' if ssh else ''}"
    return f"{name}@{domain} {mailbox_id} {digest} {quota} {change}{switches}"


def _lost_ssh(old: Mailbox, new: Mailbox) -> bool:
    return old.ssh and not new.ssh


class Projections:
    """The tables mailbox, address, destination, list and domain."""

    def __init__(self, db: sqlite3.Connection, records: Records, trash: Trash) -> None:
        """Take the open database, what follows from what, and where deleted mailboxes go."""
        self._db = db
        self._records = records
        self._trash = trash

    def follow_domains(self, changed: Iterable[Changed]) -> None:
        """Follow changes of domains, but not yet in their addresses."""
        for item in changed:
            record = item.entry.record
            self._db.execute("DELETE FROM domain WHERE name = ?", (item.name,))
            if isinstance(record, HostedDomain):
                self._put_domain(record)

    def follow_mailboxes(self, changed: Sequence[Changed], now: datetime) -> None:
        """Follow changes of mailboxes; one that goes is closed, and in the trash from `now` on."""
        news = {
            item.entry.key: item.entry.record
            for item in changed
            if isinstance(item.entry.record, Mailbox)
        }
        staying = {record.mailbox_id for record in news.values()}
        for item in changed:
            if isinstance(item.old, Mailbox):
                self._retire(item.old, news.get(item.entry.key), staying, now)
        self._put_mailboxes([item.entry for item in changed])

    def _retire(self, old: Mailbox, new: Mailbox | None, staying: set[str], now: datetime) -> None:
        """Close the mailbox that bore this name, unless it is still the same one."""
        same = new is not None and new.mailbox_id == old.mailbox_id
        if new is None or not same or new.password_hash != old.password_hash or _lost_ssh(old, new):
            self._db.execute("INSERT OR IGNORE INTO kick VALUES (?)", (old.name,))
        if same:
            return
        if old.mailbox_id in staying:
            # It goes on under another name: no trash, no move.
            self._db.execute("DELETE FROM mailbox WHERE mailbox_id = ?", (old.mailbox_id,))
            return
        self._db.execute(
            "UPDATE mailbox SET state = 'closing' WHERE mailbox_id = ?", (old.mailbox_id,)
        )
        self._trash.add(old, now)

    def _put_mailboxes(self, entries: Iterable[Entry]) -> None:
        boxes = [
            (entry.record, entry.change) for entry in entries if isinstance(entry.record, Mailbox)
        ]
        restored = self._trash.addresses_by_id([record.mailbox_id for record, _ in boxes])
        self._trash.remove(list(restored))
        self._db.executemany(
            "INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (mailbox_id)"
            " DO UPDATE SET name = excluded.name, domain = excluded.domain,"
            " address = excluded.address, password_hash = excluded.password_hash,"
            " quota_bytes = excluded.quota_bytes, change = excluded.change, ftp = excluded.ftp,"
            " ssh = excluded.ssh",
            [
                (
                    record.mailbox_id,
                    record.name,
                    record.domain,
                    record.address,
                    record.password_hash,
                    record.quota_bytes,
                    change,
                    "restoring" if record.mailbox_id in restored else "open",
                    int(record.ftp),
                    int(record.ssh),
                )
                for record, change in boxes
            ],
        )

    def follow_lists(self, changed: Iterable[Changed]) -> None:
        """Follow changes of mailing lists."""
        for item in changed:
            self._db.execute("DELETE FROM list WHERE list = ?", (item.name,))
            if isinstance(item.entry.record, MailingList):
                self._put_list(item.entry.record)

    def _put_list(self, record: MailingList) -> None:
        self._db.executemany(
            "INSERT INTO list VALUES (?, ?, ?)",
            [(address, record.domain, record.address) for address in record.addresses],
        )

    def _put_domain(self, record: HostedDomain) -> None:
        self._db.execute(
            "INSERT INTO domain VALUES (?, ?, ?)", (record.name, record.fixed_address, record.home)
        )

    def follow_addresses(self, addresses: Iterable[str]) -> None:
        """Write where each leads: what is on record or, else, what its domain implies."""
        names = list(addresses)
        for table in ("address", "destination"):
            query = f"DELETE FROM {table} WHERE address = ?"  # noqa: S608 (names above)
            self._db.executemany(query, [(address,) for address in names])
        held = self._records.read_all([f"address:{address}" for address in names])
        for address in names:
            record = held.get(f"address:{address}", (0, None))[1]
            domain = address.rpartition("@")[2]
            destinations = record.destinations if isinstance(record, Address) else ()
            destinations = destinations or self._derived(address, domain)
            if destinations:
                self._put_address(address, domain, destinations, derived=record is None)

    def _put_address(
        self, address: str, domain: str, destinations: Sequence[str], *, derived: bool
    ) -> None:
        self._db.execute("INSERT INTO address VALUES (?, ?, ?)", (address, domain, int(derived)))
        self._db.executemany(
            "INSERT INTO destination VALUES (?, ?, ?, ?)",
            [(address, n, text, text.lower()) for n, text in enumerate(destinations)],
        )

    def _derived(self, address: str, domain: str) -> tuple[str, ...]:
        if address not in derived_addresses(domain) or self.mailbox_at(address):
            return ()
        row = self._db.execute(
            "SELECT fixed_address FROM domain WHERE name = ?", (domain,)
        ).fetchone()
        return (row[0],) if row and row[0] != address else ()

    def fill(self, entry: Entry) -> None:
        """Write what follows from a record where nothing is yet."""
        record = entry.record
        if isinstance(record, Mailbox):
            self._put_mailboxes([entry])
        elif isinstance(record, Address):
            self._put_address(record.address, record.domain, record.destinations, derived=False)
        elif isinstance(record, MailingList):
            self._put_list(record)
        elif isinstance(record, HostedDomain):
            self._put_domain(record)

    def derive_all(self) -> None:
        """Write every domain's own addresses."""
        for domain in self.hosted_domains():
            self.follow_addresses(derived_addresses(domain))

    def anew(self) -> None:
        """Make all tables from the records anew; mailboxes on their way stay."""
        self._db.execute("DELETE FROM mailbox WHERE state = 'open'")
        for table in ("domain", "address", "destination", "list"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (names above)
        for entry in self._records.live():
            self.fill(entry)
        self.derive_all()

    # Questions

    def mailbox_at(self, address: str) -> bool:
        """Say whether a mailbox has this address of its own."""
        query = "SELECT 1 FROM mailbox WHERE address = ? AND state <> 'closing'"
        return self._db.execute(query, (address,)).fetchone() is not None

    def list_at(self, address: str) -> bool:
        """Say whether this is an address of a mailing list."""
        query = "SELECT 1 FROM list WHERE address = ?"
        return self._db.execute(query, (address,)).fetchone() is not None

    def homes(self) -> list[tuple[str, str]]:
        """Return the domains that have a home directory, and its name below the homes."""
        rows = self._db.execute("SELECT name, home FROM domain WHERE home <> '' ORDER BY name")
        return rows.fetchall()

    def hosted_domains(self) -> list[str]:
        """Return every domain whose mail this server takes."""
        return [row[0] for row in self._db.execute("SELECT name FROM domain ORDER BY name")]

    # Comparing with the records

    def recorded(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield what shall follow from the records of a kind, in the order of names."""
        for entry in self._records.of_kind(kind):
            record = entry.record
            if isinstance(record, Mailbox):
                yield (
                    record.name,
                    _mailbox_line(
                        record.name,
                        record.domain,
                        record.mailbox_id,
                        record.password_hash,
                        record.quota_bytes,
                        entry.change,
                        record.ftp,
                        record.ssh,
                    ),
                )
            elif isinstance(record, Address):
                yield record.address, ", ".join(record.destinations)
            elif isinstance(record, MailingList):
                yield record.address, " ".join(sorted(record.addresses))
            elif isinstance(record, HostedDomain):
                yield record.name, f"{record.fixed_address} {record.home}"

    def projected(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield what the tables hold of a kind, as `recorded` does."""
        if kind == "mailbox":
            rows = self._db.execute(
                "SELECT name, domain, mailbox_id, password_hash, quota_bytes, change, ftp, ssh"
                " FROM mailbox WHERE state <> 'closing' ORDER BY name"
            )
            yield from ((row[0], _mailbox_line(*row)) for row in rows)
        elif kind == "address":
            yield from self._db.execute(
                "SELECT address, (SELECT group_concat(destination, ', ') FROM destination"
                " WHERE destination.address = address.address)"
                " FROM address WHERE derived = 0 ORDER BY address"
            )
        elif kind == "list":
            yield from self._db.execute(
                "SELECT list, group_concat(address, ' ') FROM (SELECT * FROM list ORDER BY address)"
                " GROUP BY list ORDER BY list"
            )
        else:
            yield from self._db.execute(
                "SELECT name, fixed_address || ' ' || home FROM domain ORDER BY name"
            )

    def derived(self) -> Iterator[tuple[str, str, str]]:
        """Yield (address, where it shall lead, where it leads) of every domain's own addresses."""
        for domain in self.hosted_domains():
            for address in derived_addresses(domain):
                if self._records.get(f"address:{address}") is None:
                    held = self._db.execute(
                        "SELECT destination FROM destination WHERE address = ?", (address,)
                    ).fetchall()
                    wanted = self._derived(address, domain)
                    yield address, ", ".join(wanted), ", ".join(row[0] for row in held)
