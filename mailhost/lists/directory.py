"""The lists of one server and what may be posted to them: read from its store."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from mailhost.records import Mailbox, MailingList, PlanLimits, record_from


class Directory:
    """The store, read only; each question is answered from its present state."""

    def __init__(self, store: Path) -> None:
        """Open the store, which `init` has made."""
        self._db = sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=10)

    def close(self) -> None:
        """Close the store."""
        self._db.close()

    def list_at(self, address: str) -> tuple[MailingList, bool] | None:
        """Return the list an address belongs to, and whether it is the one of its bounces."""
        query = "SELECT list FROM list WHERE address = ?"
        row = self._db.execute(query, (address.lower(),)).fetchone()
        found = self._record(f"list:{row[0]}") if row else None
        if not isinstance(found, MailingList):
            return None
        return found, address.lower() == found.bounce_address

    def most_bytes(self, mailing_list: MailingList, sender: str) -> int:
        """Return how long a message of `sender` to the list may be.

        An account that may send lists more than this list's plan says, by its own limit or by
        its own plan, was let through by the policy daemon, and may do so here.
        """
        senders = self._mailboxes(sender.lower())
        own = [box.list_message_bytes or self._most_by_plan(box.domain) for box in senders]
        return max([self._most_by_plan(mailing_list.domain), *own])

    def _most_by_plan(self, domain: str) -> int:
        """Return how long a message to a list may be by the domain's plan."""
        code = self._value(f"domain:{domain}").get("plan", "")
        plan = self._value(f"plan:{code}") if code else {}
        return (PlanLimits(**plan) if plan else PlanLimits("default")).list_message_bytes

    def _mailboxes(self, address: str) -> list[Mailbox]:
        """Return the mailboxes at an address and those it is forwarded to at once."""
        query = "SELECT folded FROM destination WHERE address = ?"
        led = [row[0] for row in self._db.execute(query, (address,))]
        marks = ", ".join("?" * (len(led) + 1))
        names = self._db.execute(
            f"SELECT name FROM mailbox WHERE address IN ({marks})",  # noqa: S608 (marks)
            [address, *led],
        )
        found = [self._record(f"mailbox:{name}") for (name,) in names.fetchall()]
        return [record for record in found if isinstance(record, Mailbox)]

    def _value(self, key: str) -> dict[str, Any]:
        row = self._db.execute("SELECT value FROM record WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row and row[0] else {}

    def _record(self, key: str) -> object:
        value = self._value(key)
        return record_from(key, value) if value else None
