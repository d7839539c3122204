"""The lists of one server and what may be posted to them: read from its store."""

from __future__ import annotations

from mailhost.records import Mailbox, MailingList, record_from
from mailhost.store.reader import Reader


class Directory(Reader):
    """The lists of a store."""

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
        its own plan, was let through by the policy daemon, and may do so here: by its own
        address, or by one that leads to it, at any depth as there.
        """
        own = [
            box.list_message_bytes or self.plan_of(box.domain).list_message_bytes
            for box in self._mailboxes(sender.lower())
        ]
        return max([self.plan_of(mailing_list.domain).list_message_bytes, *own])

    def _mailboxes(self, address: str) -> list[Mailbox]:
        """Return the mailboxes at an address and at those it leads to."""
        found = [self._record(f"mailbox:{name}") for name in self.mailboxes(address)]
        return [record for record in found if isinstance(record, Mailbox)]

    def _record(self, key: str) -> object:
        value = self.value(key)
        return record_from(key, value) if value else None
