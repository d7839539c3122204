"""The mail server's own truth: one SQLite database, changed by one transaction per batch.

Every record remembers the number of the change that wrote it and the newest
wins, a deletion included. What follows from records (mailboxes, addresses, what
each Postfix map shall hold) is brought up to date in the same transaction, and
so is the list of what then remains to be done outside: `dirty` map keys, names
to `kick`, mailboxes `closing` or `restoring`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from importlib import resources
from itertools import islice
from pathlib import Path

from mailhost.errors import HostError
from mailhost.records import Address, Entry, HostedDomain, Mailbox, Record, record_from

#: Every domain has these, leading to its fixed account (RFC 2142).
DUTIES = ("postmaster", "abuse")
_ADDRESS_MAPS = ("mailboxes", "aliases", "refused")

# Keys asked for by one query.
_CHUNK = 500

_PUT = """
INSERT INTO record (key, change, value) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET change = excluded.change, value = excluded.value
WHERE excluded.change > record.change
"""


def _record(key: str, value: str) -> Record:
    """Read a record back. HostError if someone wrote into the store by hand."""
    try:
        return record_from(key, json.loads(value))
    except ValueError as error:
        raise HostError(f"the store's {key} cannot be read: {error}") from error


def _mailbox_line(*values: object) -> str:
    """Return a mailbox's fields for comparison; of the hash only a digest."""
    name, domain, mailbox_id, password_hash, quota, change = values
    digest = hashlib.sha256(str(password_hash).encode()).hexdigest()[:12]
    return f"{name}@{domain} {mailbox_id} {digest} {quota} {change}"


def derived_addresses(domain: str) -> tuple[str, ...]:
    """Return the addresses that lead to a domain's fixed account by themselves."""
    names = (*DUTIES, domain.partition(".")[0])
    return tuple(dict.fromkeys(f"{name}@{domain}" for name in names))


@dataclass(frozen=True, slots=True)
class _Changed:
    """An entry that was newer than the store's, and what the store held before."""

    entry: Entry
    old: Record | None


class Store:
    """The open database. To be changed only by who holds the server's lock."""

    def __init__(self, path: Path) -> None:
        """Open the database, making it if there is none."""
        new = not path.exists()
        if new:
            # Closed to others from its first byte; SQLite gives -wal and -shm the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
            schema = resources.files("mailhost").joinpath("schema.sql").read_text()
            self._db.executescript(f"BEGIN EXCLUSIVE; {schema} COMMIT;")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Do all of the block or nothing, with memory for a transaction of millions of rows."""
        self._db.execute("PRAGMA cache_size = -1000000")
        try:
            with self.transaction():
                yield
            # Or every reader would go through a log as long as the database.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._db.execute("PRAGMA cache_size = -2000")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of the block or, if it raises, nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # On a full disk SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # Records

    def records(self) -> Iterator[Entry]:
        """Yield every live record, in the order of keys."""
        rows = self._db.execute(
            "SELECT key, change, value FROM record WHERE value IS NOT NULL ORDER BY key"
        )
        for key, change, value in rows:
            yield Entry(key, change, _record(key, value))

    def record(self, key: str) -> Record | None:
        """Return what the server holds as `key`."""
        return self.read(key)[1]

    def read(self, key: str) -> tuple[int, Record | None]:
        """Return the number of the change that last wrote or deleted `key`, and its record."""
        row = self._db.execute("SELECT change, value FROM record WHERE key = ?", (key,)).fetchone()
        return (row[0], _record(key, row[1]) if row[1] else None) if row else (0, None)

    def change_of(self, key: str) -> int:
        """Return the number of the change that last wrote or deleted `key`, or 0."""
        row = self._db.execute("SELECT change FROM record WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0

    def highest_change(self) -> int:
        """Return the highest change number in the store, 0 if it is empty."""
        return int(self._db.execute("SELECT coalesce(max(change), 0) FROM record").fetchone()[0])

    def take(self, entries: Sequence[Entry], now: datetime) -> None:
        """Write what is newer than the store's, and all that follows from it.

        To be called within a transaction, at most one entry per key.
        """
        changed = self._upsert(entries)
        domains = [item for item in changed if item.entry.key.startswith("domain:")]
        mailboxes = [item for item in changed if item.entry.key.startswith("mailbox:")]
        addresses = self._affected(changed)
        before = self._rendered_now(addresses, domains)
        self._project_domains(domains)
        self._project_mailboxes(mailboxes, now)
        for address in addresses:
            self._project_address(address)
        self._mark_dirty(before, self._rendered_now(addresses, domains))

    def _upsert(self, entries: Sequence[Entry]) -> list[_Changed]:
        changed = []
        for entry in entries:
            old = self.record(entry.key)
            value = json.dumps(entry.record.value()) if entry.record else None
            if self._db.execute(_PUT, (entry.key, entry.change, value)).rowcount:
                changed.append(_Changed(entry, old))
        return changed

    def _affected(self, changed: Iterable[_Changed]) -> dict[str, None]:
        """Return the addresses whose lines may change, each once."""
        addresses: dict[str, None] = {}
        for item in changed:
            for record in (item.old, item.entry.record):
                if isinstance(record, Mailbox | Address):
                    addresses[record.address] = None
            if isinstance(item.entry.record, Mailbox):
                # Brought back under another name: the one it was deleted by is no longer kept.
                details = self.trash_details(item.entry.record.mailbox_id)
                if details and details["address"]:
                    addresses[details["address"]] = None
            if isinstance(item.old or item.entry.record, HostedDomain):
                name = item.entry.key.partition(":")[2]
                addresses.update(dict.fromkeys(derived_addresses(name)))
                if item.old is None or item.entry.record is None:
                    # It begins or ends to be hosted, and all its addresses with it.
                    addresses.update(dict.fromkeys(self._addresses_of(name)))
        return addresses

    def _addresses_of(self, domain: str) -> Iterator[str]:
        for table in ("mailbox", "address", "trash"):
            query = f"SELECT address FROM {table} WHERE domain = ?"  # noqa: S608 (names above)
            yield from (row[0] for row in self._db.execute(query, (domain,)))

    # Projections

    def _project_domains(self, changed: Iterable[_Changed]) -> None:
        for item in changed:
            name, record = item.entry.key.partition(":")[2], item.entry.record
            self._db.execute("DELETE FROM domain WHERE name = ?", (name,))
            if isinstance(record, HostedDomain):
                self._put_domain(record)

    def _put_domain(self, record: HostedDomain) -> None:
        self._db.execute(
            "INSERT INTO domain VALUES (?, ?, ?)", (record.name, record.fixed_address, record.home)
        )

    def _project_mailboxes(self, changed: Sequence[_Changed], now: datetime) -> None:
        news = {
            item.entry.key: item.entry.record
            for item in changed
            if isinstance(item.entry.record, Mailbox)
        }
        staying = {record.mailbox_id for record in news.values()}
        for item in changed:
            if isinstance(item.old, Mailbox):
                self._retire(item.old, news.get(item.entry.key), staying, now)
        for item in changed:
            if record := news.get(item.entry.key):
                self._put_mailbox(record, item.entry.change)

    def _retire(self, old: Mailbox, new: Mailbox | None, staying: set[str], now: datetime) -> None:
        """Close the mailbox that bore this name, unless it is still the same one."""
        same = new is not None and new.mailbox_id == old.mailbox_id
        if new is None or not same or new.password_hash != old.password_hash:
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
        deleted_at = now.isoformat(timespec="seconds")
        self._db.execute(
            "INSERT OR REPLACE INTO trash VALUES (?, ?, ?, ?, ?, ?)",
            (old.mailbox_id, old.name, old.domain, old.address, old.password_hash, deleted_at),
        )

    def _put_mailbox(self, record: Mailbox, change: int) -> None:
        restored = self._db.execute(
            "DELETE FROM trash WHERE mailbox_id = ?", (record.mailbox_id,)
        ).rowcount
        self._db.execute(
            "INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (mailbox_id)"
            " DO UPDATE SET name = excluded.name, domain = excluded.domain,"
            " address = excluded.address, password_hash = excluded.password_hash,"
            " quota_bytes = excluded.quota_bytes, change = excluded.change",
            (
                record.mailbox_id,
                record.name,
                record.domain,
                record.address,
                record.password_hash,
                record.quota_bytes,
                change,
                "restoring" if restored else "open",
            ),
        )

    def _project_address(self, address: str) -> None:
        """Write where `address` leads: what is on record or, else, what its domain implies."""
        domain = address.rpartition("@")[2]
        self._db.execute("DELETE FROM address WHERE address = ?", (address,))
        self._db.execute("DELETE FROM destination WHERE address = ?", (address,))
        record = self.record(f"address:{address}")
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

    def load(self, records: Iterable[Record], first: int) -> int:
        """Write many records at once, numbered from `first`; return the last number.

        To be called within `bulk`, with keys the store does not hold yet.
        """
        entries = (Entry(record.key, n, record) for n, record in enumerate(records, first))
        last = first - 1
        with self._without_indexes():
            while some := list(islice(entries, _CHUNK)):
                self._db.executemany(
                    "INSERT INTO record VALUES (?, ?, ?)",
                    [(e.key, e.change, json.dumps(e.record.value())) for e in some if e.record],
                )
                for entry in some:
                    self._fill(entry)
                last = some[-1].change
        self._derive_all()
        return last

    def project_anew(self) -> None:
        """Make all that follows from the records anew. To be called within `bulk`."""
        self._db.execute("DELETE FROM mailbox WHERE state = 'open'")
        for table in ("domain", "address", "destination"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (names above)
        for entry in self.records():
            self._fill(entry)
        self._derive_all()

    @contextmanager
    def _without_indexes(self) -> Iterator[None]:
        """Make the indexes after the rows: sorting them once is much quicker.

        Dovecot 2.3 answers the first query after a change of the schema with a temporary
        failure in each of its workers, so it has to be reloaded, or not to run.
        """
        indexes = self._db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            self._db.execute(f"DROP INDEX {name}")
        yield
        for _, statement in indexes:
            self._db.execute(statement)

    def _fill(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, Mailbox):
            self._put_mailbox(record, entry.change)
        elif isinstance(record, Address):
            self._put_address(record.address, record.domain, record.destinations, derived=False)
        elif isinstance(record, HostedDomain):
            self._put_domain(record)

    def _derive_all(self) -> None:
        for domain in self.hosted_domains():
            for address in derived_addresses(domain):
                self._project_address(address)

    # Comparing projections with records

    def recorded(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield what shall follow from the records of a kind, in the order of names."""
        rows = self._db.execute(
            "SELECT key, change, value FROM record"
            " WHERE key > ? AND key < ? AND value IS NOT NULL ORDER BY key",
            (f"{kind}:", f"{kind};"),
        )
        for key, change, value in rows:
            record = _record(key, value)
            if isinstance(record, Mailbox):
                yield record.name, _mailbox_line(*astuple(record), change)
            elif isinstance(record, Address):
                yield record.address, ", ".join(record.destinations)
            else:
                yield record.name, f"{record.fixed_address} {record.home}"

    def projected(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield what the tables hold of a kind, as `recorded` does."""
        if kind == "mailbox":
            rows = self._db.execute(
                "SELECT name, domain, mailbox_id, password_hash, quota_bytes, change"
                " FROM mailbox WHERE state <> 'closing' ORDER BY name"
            )
            yield from ((row[0], _mailbox_line(*row)) for row in rows)
        elif kind == "address":
            yield from self._db.execute(
                "SELECT address, (SELECT group_concat(destination, ', ') FROM destination"
                " WHERE destination.address = address.address)"
                " FROM address WHERE derived = 0 ORDER BY address"
            )
        else:
            yield from self._db.execute(
                "SELECT name, fixed_address || ' ' || home FROM domain ORDER BY name"
            )

    def derived(self) -> Iterator[tuple[str, str, str]]:
        """Yield (address, where it shall lead, where it leads) of every domain's own addresses."""
        for domain in self.hosted_domains():
            for address in derived_addresses(domain):
                if self.record(f"address:{address}") is None:
                    held = self._db.execute(
                        "SELECT destination FROM destination WHERE address = ?", (address,)
                    ).fetchall()
                    wanted = self._derived(address, domain)
                    yield address, ", ".join(wanted), ", ".join(row[0] for row in held)

    # What the maps shall hold

    def line(self, name: str, key: str) -> str | None:
        """Return what the map `name` shall answer for `key`."""
        query = f"SELECT value FROM map_{name} WHERE key = ?"  # noqa: S608 (a map's name)
        row = self._db.execute(query, (key,)).fetchone()
        return row[0] if row else None

    def at_most(self, name: str, count: int) -> bool:
        """Say whether the map `name` shall hold no more than so many keys."""
        query = f"SELECT 1 FROM map_{name} LIMIT 1 OFFSET ?"  # noqa: S608 (a map's name)
        return self._db.execute(query, (count,)).fetchone() is None

    def rendered(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield all that the map `name` shall hold, in the order of the keys' bytes."""
        query = f"SELECT key, value FROM map_{name} ORDER BY key"  # noqa: S608 (a map's name)
        return self._db.execute(query)

    def lines(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Return what the map `name` shall answer for each of these keys that it shall have."""
        found: dict[str, str] = {}
        for n in range(0, len(keys), _CHUNK):
            chunk = keys[n : n + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT key, value FROM map_{name} WHERE key IN ({marks})"  # noqa: S608
            found.update(self._db.execute(query, chunk))
        return found

    def _rendered_now(
        self, addresses: Iterable[str], domains: Iterable[_Changed]
    ) -> dict[tuple[str, str], str]:
        keys = list(addresses)
        lines = {
            (name, key): value
            for name in _ADDRESS_MAPS
            for key, value in self.lines(name, keys).items()
        }
        names = [item.entry.key.partition(":")[2] for item in domains]
        hosted = self.lines("domains", names)
        return lines | {("domains", key): value for key, value in hosted.items()}

    def _mark_dirty(
        self, before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]
    ) -> None:
        places = before.keys() | after.keys()
        self.mark_dirty(place for place in places if before.get(place) != after.get(place))

    def mark_dirty(self, places: Iterable[tuple[str, str]]) -> None:
        """Remember (map, key) pairs whose line may be wrong in the map."""
        self._db.executemany("INSERT OR IGNORE INTO dirty VALUES (?, ?)", places)

    def dirty(self) -> dict[str, list[str]]:
        """Return the keys to be brought to each map."""
        keys: dict[str, list[str]] = defaultdict(list)
        for name, key in self._db.execute("SELECT map, key FROM dirty"):
            keys[name].append(key)
        return keys

    def forget_dirty(self, name: str) -> None:
        """The map `name` now is as it shall be."""
        self._db.execute("DELETE FROM dirty WHERE map = ?", (name,))

    # What remains to be done outside

    def to_kick(self) -> list[str]:
        """Return the mailbox names whose sessions have to end."""
        return [row[0] for row in self._db.execute("SELECT name FROM kick")]

    def forget_kicks(self, names: Iterable[str]) -> None:
        """These sessions have ended."""
        self._db.executemany("DELETE FROM kick WHERE name = ?", [(name,) for name in names])

    def unsettled(self, state: str) -> list[str]:
        """Return the ids of mailboxes that are "closing" or "restoring"."""
        query = "SELECT mailbox_id FROM mailbox WHERE state = ? AND state <> 'open'"
        return [row[0] for row in self._db.execute(query, (state,))]

    def restored(self, mailbox_id: str) -> None:
        """The mailbox's directory is back in its place."""
        self._db.execute("UPDATE mailbox SET state = 'open' WHERE mailbox_id = ?", (mailbox_id,))

    def closed(self, mailbox_id: str) -> None:
        """The mailbox's directory has gone to the trash."""
        self._db.execute(
            "DELETE FROM mailbox WHERE mailbox_id = ? AND state = 'closing'", (mailbox_id,)
        )

    # Questions

    def mailbox_at(self, address: str) -> bool:
        """Say whether a mailbox has this address of its own."""
        query = "SELECT 1 FROM mailbox WHERE address = ? AND state <> 'closing'"
        return self._db.execute(query, (address,)).fetchone() is not None

    def name_of(self, mailbox_id: str) -> str | None:
        """Return the name of the mailbox with this id, also while it is being closed."""
        row = self._db.execute(
            "SELECT name FROM mailbox WHERE mailbox_id = ?", (mailbox_id,)
        ).fetchone()
        return row[0] if row else None

    def is_closing(self, mailbox_id: str) -> bool:
        """Say whether the mailbox with this id is on its way to the trash."""
        query = "SELECT 1 FROM mailbox WHERE mailbox_id = ? AND state = 'closing'"
        return self._db.execute(query, (mailbox_id,)).fetchone() is not None

    def hosted(self, domain: str) -> bool:
        """Say whether this server takes the domain's mail."""
        return self.line("domains", domain) is not None

    def hosted_domains(self) -> list[str]:
        """Return every domain whose mail this server takes."""
        return [row[0] for row in self._db.execute("SELECT name FROM domain ORDER BY name")]

    def held(self, address: str) -> bool:
        """Say whether a deleted mailbox's address is still kept from others."""
        query = "SELECT 1 FROM trash WHERE address = ?"
        return self._db.execute(query, (address,)).fetchone() is not None

    def leads_to(self, address: str) -> list[str]:
        """Return where mail for `address` goes next, in lower case; itself for a mailbox.

        The catch-all counts where nothing else exists.
        """
        rows = self._db.execute(
            "SELECT folded FROM destination WHERE address = ? ORDER BY position", (address,)
        ).fetchall()
        if rows and self.hosted(address.rpartition("@")[2]):
            return [row[0] for row in rows]
        if self.mailbox_at(address):
            return [address]
        catch_all = "@" + address.rpartition("@")[2]
        if address == catch_all or self.held(address):
            return []
        return self.leads_to(catch_all) and [catch_all]

    # Trash

    def trash(self) -> list[tuple[str, str, str, datetime]]:
        """Return (id, name, address, deleted at) of all trash, oldest first."""
        rows = self._db.execute(
            "SELECT mailbox_id, name, address, deleted_at FROM trash"
            " ORDER BY deleted_at, mailbox_id"
        )
        return [(row[0], row[1], row[2], datetime.fromisoformat(row[3])) for row in rows]

    def trashed_addresses(self, name: str) -> list[str]:
        """Return the addresses under which a mailbox of this name was deleted."""
        rows = self._db.execute("SELECT DISTINCT address FROM trash WHERE name = ?", (name,))
        return [row[0] for row in rows]

    def trash_details(self, mailbox_id: str) -> dict[str, str] | None:
        """Return a trash row without its password hash."""
        row = self._db.execute(
            "SELECT name, address, deleted_at FROM trash WHERE mailbox_id = ?", (mailbox_id,)
        ).fetchone()
        return dict(zip(("name", "address", "deleted_at"), row, strict=True)) if row else None

    def add_stray(self, mailbox_id: str, now: datetime) -> None:
        """Remember a directory that belongs to no mailbox as trash without a name."""
        self._db.execute(
            "INSERT OR IGNORE INTO trash VALUES (?, '', '', '', '', ?)",
            (mailbox_id, now.isoformat(timespec="seconds")),
        )

    def remove_trash(self, mailbox_ids: Sequence[str]) -> None:
        """Forget these, and free their addresses. To be called within a transaction."""
        rows = [
            self._db.execute("SELECT address FROM trash WHERE mailbox_id = ?", (id_,)).fetchone()
            for id_ in mailbox_ids
        ]
        addresses = {row[0] for row in rows if row and row[0]}
        before = self._rendered_now(addresses, ())
        self._db.executemany(
            "DELETE FROM trash WHERE mailbox_id = ?", [(id_,) for id_ in mailbox_ids]
        )
        self._mark_dirty(before, self._rendered_now(addresses, ()))
