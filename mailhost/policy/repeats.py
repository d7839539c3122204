"""One more recipient of a message far from any limit: most of what Postfix asks, answered quickly.

Whatever is not plainly a yes is left to the rules. They have judged the first recipient of the
message, and all but the recipient is the same in what Postfix says of the next.
"""

from __future__ import annotations

from typing import NamedTuple

from mailhost.policy.directory import AccountView, Directory
from mailhost.policy.ledger import LONGEST, PATIENCE, Ledger
from mailhost.policy.messages import Message
from mailhost.policy.request import Request
from mailhost.policy.rules import over_day, size_of


class Passed(NamedTuple):
    """A message of an account that was let through while the store had this version."""

    message: Message
    account: AccountView
    version: int


class Repeats:
    """Answers for one more recipient of a message that was let through."""

    def __init__(self, directory: Directory, ledger: Ledger) -> None:
        """Take what the rules take."""
        self._directory = directory
        self._ledger = ledger

    def passed(self, request: Request) -> Passed | None:
        """Return what is to be known for the message's next recipient; None: ask the rules.

        To be called when they have let a recipient of this request pass.
        """
        if request.policy_context != "submission" or not request.sender:
            return None
        message = self._ledger.current(request.instance)
        account = self._directory.account(request.sasl_username.lower())
        if message is None or account is None:
            return None
        if size_of(request.size) > account.limits.message_bytes:
            return None
        return Passed(message, account, self._directory.version)

    def take(self, passed: Passed, recipient: str, now: float) -> bool:
        """Reserve one more recipient, and return True; False: ask the rules."""
        message, account, version = passed
        if message.gone or message.lapsed or version != self._directory.version:
            return False
        if message.last_at < now - PATIENCE or len(recipient) > LONGEST:
            return False
        local_part, at, domain = recipient.rpartition("@")
        domain = domain.lower()
        if self._directory.is_hosted(domain):
            return False
        recipient = f"{local_part}{at}{domain}"
        if recipient not in message.recipients:
            if not self._has_room(message, account):
                return False
            self._ledger.reserve(message, recipient)
        message.last_at = now
        message.passed += 1
        return True

    def _has_room(self, message: Message, account: AccountView) -> bool:
        limits = account.limits
        if len(message.recipients) >= limits.recipients_per_message:
            return False
        return over_day(limits, *self._ledger.used(account, message.day), 1) is None
