"""Auto-replies: which there shall be, with all addresses that lead to each one's mailbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailhost import sqlite
from mailhost.records import Address, AutoReply, HostedDomain, Record
from mailhost.store.records import Changed, Records

#: Addresses of one mailbox that its auto-reply knows.
_MOST = 500
_ALL = "key > 'reply:' AND key < 'reply;' AND value IS NOT NULL"
# Backwards from the mailbox, in at most 10 steps (as many as Dovecot's logins follow). A catch-all
# is no address that anybody writes to, and an answer from the postmaster is nobody's.
_LEADING = """
WITH RECURSIVE leading (address, depth) AS (
    SELECT ?, 0
    UNION
    SELECT d.address, l.depth + 1 FROM leading AS l
    JOIN destination AS d ON d.folded = l.address
    JOIN address AS a ON a.address = d.address
    JOIN domain ON domain.name = a.domain
    WHERE l.depth < 10 AND d.address <> l.address
)
SELECT DISTINCT address FROM leading
WHERE address NOT LIKE '@%' AND address NOT LIKE 'postmaster@%' AND address NOT LIKE 'abuse@%'
ORDER BY address LIMIT ?
"""


# Forwards, to the mailboxes that an address leads to.
_MARK_LED_TO = """
WITH RECURSIVE led (address) AS (
    SELECT ?
    UNION
    SELECT d.folded FROM led JOIN destination AS d ON d.address = led.address
)
INSERT OR IGNORE INTO reply_dirty
SELECT mailbox.name FROM led JOIN mailbox ON mailbox.address = led.address
JOIN record ON record.key = 'reply:' || mailbox.name AND record.value IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """An auto-reply that shall be, and the addresses that it answers for."""

    record: AutoReply
    addresses: tuple[str, ...]


class Replies:
    """The auto-replies of one server, as its store has them."""

    def __init__(self, db: sqlite3.Connection, records: Records) -> None:
        """Take the open database."""
        self._db = db
        self._records = records

    def mark_changed(self, changed: Iterable[Changed]) -> None:
        """Remember which may have to be written anew after these changes, already made.

        Those of mailboxes to which a changed address leads, or led: whatever stands between
        has not changed, or is among the changed itself.
        """
        names, places = [], set()
        for item in changed:
            kind = item.entry.key.partition(":")[0]
            if kind in ("reply", "mailbox"):
                names.append(item.name)
            elif kind == "address":
                places |= {*_leads(item.old), *_leads(item.entry.record)}
            elif kind == "domain":
                query = "SELECT address FROM address WHERE domain = ?"
                places |= {row[0] for row in self._db.execute(query, (item.name,))}
                places |= {*_leads(item.old), *_leads(item.entry.record)}
        self.mark_dirty(names)
        self._db.executemany(_MARK_LED_TO, [(place,) for place in places])

    def mark_all(self) -> None:
        """Let every one be looked at."""
        query = f"INSERT OR IGNORE INTO reply_dirty SELECT substr(key, 7) FROM record WHERE {_ALL}"  # noqa: S608 (names above)
        self._db.execute(query)

    def mark_dirty(self, names: Iterable[str]) -> None:
        """Let these be written anew."""
        rows = [(name,) for name in names]
        self._db.executemany("INSERT OR IGNORE INTO reply_dirty VALUES (?)", rows)

    def dirty(self) -> list[str]:
        """Return the names of mailboxes whose auto-reply has to be looked at."""
        return [row[0] for row in self._db.execute("SELECT name FROM reply_dirty ORDER BY name")]

    def forget_dirty(self, names: Iterable[str]) -> None:
        """These are as they shall be."""
        self._db.executemany("DELETE FROM reply_dirty WHERE name = ?", [(one,) for one in names])

    def of(self, name: str) -> Reply | None:
        """Return the auto-reply that the mailbox of this name shall have, if any.

        None too where the mailbox is not the one that it was written for, or is not there.
        """
        record = self._records.get(f"reply:{name}")
        if not isinstance(record, AutoReply) or not self._is_there(record):
            return None
        rows = self._db.execute(_LEADING, (record.address, _MOST))
        return Reply(record, tuple(row[0] for row in rows))

    def all(self) -> Iterator[Reply]:
        """Yield all that there shall be, in the order of their mailboxes' ids."""
        rows = self._db.execute(
            "SELECT substr(key, 7) FROM record JOIN mailbox ON mailbox.name = substr(key, 7)"  # noqa: S608
            f" WHERE mailbox.state <> 'closing' AND {_ALL} ORDER BY mailbox_id"
        )
        for (name,) in rows.fetchall():
            if reply := self.of(name):
                yield reply

    def ids_of(self, names: Iterable[str]) -> list[str]:
        """Return the ids of the mailboxes that have these names, also of those being closed."""
        query = "SELECT mailbox_id FROM mailbox WHERE name IN"
        return [row[0] for row in sqlite.among(self._db, query, list(names))]

    def named(self, mailbox_id: str) -> bool:
        """Say whether there is a mailbox of this id that is not being closed."""
        query = "SELECT 1 FROM mailbox WHERE mailbox_id = ? AND state <> 'closing'"
        return self._db.execute(query, (mailbox_id,)).fetchone() is not None

    def _is_there(self, record: AutoReply) -> bool:
        query = (
            "SELECT 1 FROM mailbox JOIN domain ON domain.name = mailbox.domain"
            " WHERE mailbox_id = ? AND mailbox.name = ? AND domain = ? AND state <> 'closing'"
        )
        values = (record.mailbox_id, record.name, record.domain)
        return self._db.execute(query, values).fetchone() is not None


def _leads(record: Record | None) -> list[str]:
    """Return where an address, or what every domain has, leads at first."""
    if isinstance(record, Address):
        return [destination.lower() for destination in record.destinations]
    return [record.fixed_address] if isinstance(record, HostedDomain) else []
