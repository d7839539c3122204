"""The mail server's own truth: one SQLite database, changed by one transaction per batch.

Every record remembers the number of the change that wrote it and the newest
wins, a deletion included. What follows from records (mailboxes, addresses, what
each Postfix map shall hold) is brought up to date in the same transaction, and
so is the list of what then remains to be done outside: `dirty` map keys,
`ftp_dirty` accounts, `webmail_dirty` domains, `reply_dirty` auto-replies, names to `kick`,
mailboxes `closing` or `restoring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from mailhost import sqlite
from mailhost.records import (
    Address,
    Entry,
    HostedDomain,
    Mailbox,
    MailingList,
    PlanLimits,
    Record,
)
from mailhost.store.database import Database
from mailhost.store.ftp import FtpUser, FtpUsers
from mailhost.store.lines import Lines
from mailhost.store.projections import Projections, derived_addresses
from mailhost.store.records import Changed, Records
from mailhost.store.replies import Replies
from mailhost.store.trash import Trash
from mailhost.store.webmail import WebmailDomains

__all__ = ["Store", "derived_addresses"]

# Records written by one statement.
_CHUNK = 500


class Store(Database):
    """The database and what is in it. To be changed only by who holds the server's lock."""

    def __init__(self, path: Path) -> None:
        """Open the database, making it if there is none."""
        super().__init__(path)
        self.records = Records(self._db)
        self.lines = Lines(self._db)
        self.trash = Trash(self._db)
        self.ftp = FtpUsers(self._db)
        self.webmail = WebmailDomains(self._db)
        self.replies = Replies(self._db, self.records)
        self.projections = Projections(self._db, self.records, self.trash)

    def take(self, entries: Sequence[Entry], now: datetime) -> None:
        """Write what is newer than the store's, and all that follows from it.

        To be called within a transaction, at most one entry per key.
        """
        changed = self.records.put(entries)
        domains = [item for item in changed if item.entry.key.startswith("domain:")]
        mailboxes = [item for item in changed if item.entry.key.startswith("mailbox:")]
        lists = [item for item in changed if item.entry.key.startswith("list:")]
        addresses, names = self._affected(changed), [item.name for item in domains]
        before = self.lines.now(addresses, names)
        ftp_before = self._ftp_now(mailboxes, names)
        self.projections.follow_domains(domains)
        self.projections.follow_mailboxes(mailboxes, now)
        self.projections.follow_lists(lists)
        self.projections.follow_addresses(addresses)
        self.lines.mark_changed(before, self.lines.now(addresses, names))
        self.ftp.mark_changed(ftp_before, self._ftp_now(mailboxes, names))
        self.webmail.mark_changed(changed)
        self.replies.mark_changed(changed)

    def _ftp_now(self, mailboxes: Iterable[Changed], domains: Sequence[str]) -> dict[str, FtpUser]:
        """Return who of those that may change may log in by FTP."""
        return self.ftp.of([item.name for item in mailboxes]) | self.ftp.among(domains)

    def _affected(self, changed: Iterable[Changed]) -> dict[str, None]:
        """Return the addresses whose lines may change, each once."""
        addresses: dict[str, None] = {}
        changed = list(changed)
        news = [item.entry.record for item in changed]
        ids = [record.mailbox_id for record in news if isinstance(record, Mailbox)]
        # Brought back under another name: the one it was deleted by is no longer kept.
        addresses.update(dict.fromkeys(filter(None, self.trash.addresses_by_id(ids).values())))
        for item in changed:
            for record in (item.old, item.entry.record):
                if isinstance(record, Mailbox | Address):
                    addresses[record.address] = None
                elif isinstance(record, MailingList):
                    addresses.update(dict.fromkeys(record.addresses))
            if isinstance(item.old or item.entry.record, HostedDomain):
                addresses.update(dict.fromkeys(derived_addresses(item.name)))
                if item.old is None or item.entry.record is None:
                    # It begins or ends to be hosted, and all its addresses with it.
                    addresses.update(dict.fromkeys(self._addresses_of(item.name)))
        return addresses

    def _addresses_of(self, domain: str) -> Iterator[str]:
        for table in ("mailbox", "address", "trash", "list"):
            query = f"SELECT address FROM {table} WHERE domain = ?"  # noqa: S608 (names above)
            yield from (row[0] for row in self._db.execute(query, (domain,)))

    def load(self, records: Iterable[Record], first: int) -> int:
        """Write many records at once, numbered from `first`; return the last number.

        To be called within `bulk`, with keys the store does not hold yet.
        """
        entries = (Entry(record.key, n, record) for n, record in enumerate(records, first))
        last = first - 1
        with self.without_indexes():
            while some := list(islice(entries, _CHUNK)):
                self.records.load(some)
                for entry in some:
                    self.projections.fill(entry)
                last = some[-1].change
        self.projections.derive_all()
        self.ftp.mark_dirty(user.name for user in self.ftp.all())
        self.webmail.mark_dirty(self.webmail.all())
        self.replies.mark_all()
        return last

    def remove_trash(self, mailbox_ids: Sequence[str]) -> None:
        """Forget these, and free their addresses. To be called within a transaction."""
        addresses = set(filter(None, self.trash.addresses_by_id(mailbox_ids).values()))
        before = self.lines.now(addresses, ())
        self.trash.remove(mailbox_ids)
        self.lines.mark_changed(before, self.lines.now(addresses, ()))

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

    def name_of(self, mailbox_id: str) -> str | None:
        """Return the name of the mailbox with this id, also while it is being closed."""
        row = self._db.execute(
            "SELECT name FROM mailbox WHERE mailbox_id = ?", (mailbox_id,)
        ).fetchone()
        return row[0] if row else None

    def holders(self, mailbox_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return name and state of the mailboxes that there are with these ids."""
        query = "SELECT mailbox_id, name, state FROM mailbox WHERE mailbox_id IN"
        rows = sqlite.among(self._db, query, mailbox_ids)
        return {mailbox_id: (name, state) for mailbox_id, name, state in rows}

    def address_of(self, mailbox_id: str) -> str:
        """Return the address of the mailbox with this id, also while it comes or goes; "": none."""
        query = "SELECT address FROM mailbox WHERE mailbox_id = ?"
        row = self._db.execute(query, (mailbox_id,)).fetchone()
        return row[0] if row else ""

    def about(self, domain: str) -> tuple[str, int]:
        """Return a hosted domain's owner ("": not known), and how large its messages may be."""
        found = self.records.get(f"domain:{domain}")
        if not isinstance(found, HostedDomain):
            return "", PlanLimits("default").message_bytes
        plan = self.records.get(f"plan:{found.plan}") if found.plan else None
        limits = plan if isinstance(plan, PlanLimits) else PlanLimits("default")
        return found.owner, limits.message_bytes

    def hosted(self, domain: str) -> bool:
        """Say whether this server takes the domain's mail."""
        return self.lines.at("domains", domain) is not None

    def leads_to(self, address: str) -> list[str]:
        """Return where mail for `address` goes next, in lower case; itself for a mailbox
        or a mailing list.

        The catch-all counts where nothing else exists.
        """
        rows = self._db.execute(
            "SELECT folded FROM destination WHERE address = ? ORDER BY position", (address,)
        ).fetchall()
        if rows and self.hosted(address.rpartition("@")[2]):
            return [row[0] for row in rows]
        if self.projections.mailbox_at(address) or self.projections.list_at(address):
            return [address]
        catch_all = "@" + address.rpartition("@")[2]
        if address == catch_all or self.trash.holds(address):
            return []
        return self.leads_to(catch_all) and [catch_all]
