"""Which mailbox bears each name: what was noted of an earlier one is not the next one's.

A name is free again once its account was deleted, for anybody on the server. Counts, refusals and
places are kept by name, which is what Postfix and Dovecot speak of. So the mailbox behind a name
is kept too, and when it is another, the name begins anew.
"""

from __future__ import annotations

import logging

from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import AccountView
from mailhost.policy.ledger import Ledger
from mailhost.policy.throttle import Throttle

# Names kept in memory at once.
_MOST_KEPT = 50_000

_log = logging.getLogger(__name__)


class Holders:
    """The mailboxes behind the names that were seen so far."""

    def __init__(self, db: PolicyDatabase, ledger: Ledger, throttle: Throttle) -> None:
        """Take who keeps what by name."""
        self._db = db
        self._ledger = ledger
        self._throttle = throttle
        self._known: dict[str, str] = {}

    def notice(self, account: AccountView) -> None:
        """An account was read from the store, before anything is judged or counted for it."""
        name, mailbox_id = account.name, account.mailbox_id
        if self._known.get(name) == mailbox_id:
            return
        rows = self._db.query("SELECT mailbox_id FROM holder WHERE account = ?", (name,))
        earlier = rows[0][0] if rows else mailbox_id
        if earlier != mailbox_id:
            _log.info("the name %a is another mailbox's now: it begins anew", name)
            self._ledger.hand_over(name, earlier)
            self._throttle.hand_over(name)
        if not rows or earlier != mailbox_id:
            self._db.soon("INSERT OR REPLACE INTO holder VALUES (?, ?)", (name, mailbox_id))
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[name] = mailbox_id
