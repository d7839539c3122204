"""The store as the daemons read it: records by their key, and where addresses lead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from mailhost.records import PlanLimits
from mailhost.sqlite import read_only

#: Steps of forwarding that are followed; the panel allows no more.
MOST_STEPS = 10

_DESTINATIONS = """
SELECT d.folded FROM destination AS d JOIN address AS a ON a.address = d.address
JOIN domain ON domain.name = a.domain WHERE d.address = ? ORDER BY d.position
"""


class Reader:
    """A server's store, read only; each question is answered from its present state."""

    def __init__(self, store: Path) -> None:
        """Open the store, which `init` has made."""
        self._db = read_only(store, patience=10)

    def close(self) -> None:
        """Close the store."""
        self._db.close()

    def value(self, key: str) -> dict[str, Any]:
        """Return the fields of a record, none where there is no such record."""
        row = self._db.execute("SELECT value FROM record WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row and row[0] else {}

    def plan_of(self, domain: str) -> PlanLimits:
        """Return what the domain's plan allows; the manual's figures where none is known."""
        code = self.value(f"domain:{domain}").get("plan", "")
        value = self.value(f"plan:{code}") if code else {}
        return PlanLimits(**value) if value else PlanLimits("default")

    def mailbox_state(self, mailbox_id: str) -> tuple[str, str]:
        """Return name and state of the mailbox with this id.

        The state is schema.sql's, or "trash" where it was deleted; ("", "") if it is gone for good.
        """
        query = (
            "SELECT name, state FROM mailbox WHERE mailbox_id = ?1"
            " UNION ALL SELECT name, 'trash' FROM trash WHERE mailbox_id = ?1"
        )
        row = self._db.execute(query, (mailbox_id,)).fetchone()
        return (row[0], row[1]) if row else ("", "")

    def destinations(self, address: str) -> list[str]:
        """Return where an address, in lower case, is forwarded to, the catch-all not counting."""
        return [row[0] for row in self._db.execute(_DESTINATIONS, (address,))]

    def mailboxes(self, address: str) -> list[str]:
        """Return the names of the mailboxes at an address and at those it leads to."""
        places = list(chain([address], *self.steps(address)))
        marks = ", ".join("?" * len(places))
        query = f"SELECT name FROM mailbox WHERE address IN ({marks})"  # noqa: S608 (marks)
        return [name for (name,) in self._db.execute(f"{query} AND state <> 'closing'", places)]

    def steps(
        self, address: str, onward: Callable[[str], Iterable[str]] | None = None
    ) -> Iterator[list[str]]:
        """Yield what an address leads to by one step, by two, and so on; each address once.

        `onward` says where mail for an address goes next: its destinations, unless given.
        """
        onward = onward or self.destinations
        seen, level = {address}, [address]
        for _ in range(MOST_STEPS):
            level = list(dict.fromkeys(to for at in level for to in onward(at) if to not in seen))
            if not level:
                return
            seen.update(level)
            yield level
