"""The sending rules: what Postfix is answered about a recipient and about a message's end.

The manual's section 5, points 5 to 7. A message is charged to the account that logged in (SMTP
AUTH), or to the one that received its mail from the same address (POP-before-SMTP) and may use
the envelope sender; all else is mail from outside, of which only the size for a mailing list
is judged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mailhost.config import HostConfig
from mailhost.policy import texts
from mailhost.policy.directory import AccountView, Directory, ListView
from mailhost.policy.grants import Grants
from mailhost.policy.ledger import Ledger, Message

#: Answers that are no refusal (access(5), SMTPD_POLICY_README).
PASS, RELAY = "DUNNO", "OK"
#: Who asks about a recipient, and about a message that has come in whole (main.cf).
RECIPIENTS, ENDS = ("relay", "rcpt", "submission"), ("end", "end_submission")
# 421 ends the connection (access(5)).
LATER = "421 4.3.0 Try again later: this message took too long, and was forgotten meanwhile"

_log = logging.getLogger("mailhost.policy")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is refused; `limit` and `reached` are what the words name."""

    reason: str
    limit: int = 0
    reached: int = 0
    what: str = ""


def fold(address: str, directory: Directory) -> str:
    """Return an address as it is counted: the domain in lower case, and all of one that is ours."""
    local_part, at, domain = address.rpartition("@")
    domain = domain.lower()
    if directory.is_hosted(domain):
        local_part = local_part.lower()
    return f"{local_part}{at}{domain}"


def size_of(text: str) -> int:
    """Return a message's size in bytes as Postfix says it, 0 where it does not."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


class Rules:
    """Answers Postfix's questions, one at a time."""

    def __init__(
        self, config: HostConfig, directory: Directory, grants: Grants, ledger: Ledger
    ) -> None:
        """Take what is asked and where it is counted."""
        self._directory = directory
        self._grants = grants
        self._ledger = ledger
        self._help_url = config.help_url
        self._window = config.window_minutes

    def answer(self, request: Mapping[str, str], now: float) -> str:
        """Return the action for a request of the policy delegation protocol.

        `policy_context` says who asks: relay and rcpt on the port for other servers, submission
        on the customers' own, end and end_submission when a message has come in whole.
        """
        context = request.get("policy_context", "")
        instance = request.get("instance", "")
        if not instance or context not in (*RECIPIENTS, *ENDS):
            return PASS
        self._ledger.seen(instance)
        if context in ENDS:
            return self._end(request, instance, now)
        return self._recipient(request, context, instance, now)

    # Recipients

    def _recipient(
        self, request: Mapping[str, str], context: str, instance: str, now: float
    ) -> str:
        message = self._ledger.message(instance)
        if message is None or message.account is None:
            account, way, refused = self._charged(request, context, now)
            if refused is not None:
                return self._refuse(refused, account, request, now)
            if message is None or account is not None:
                ip = request.get("client_address", "")
                message = self._ledger.begin(instance, account, ip, way, now)
        recipient = fold(request.get("recipient", ""), self._directory)
        if recipient not in message.recipients:
            refused = self._judge(message, recipient, request, now)
            if refused is not None:
                return self._refuse(refused, message.account, request, now)
            for found in self._directory.lists_behind(recipient):
                message.lists[found.address] = found
            if message.account is not None:
                self._ledger.reserve(message, recipient, now)
        return RELAY if context == "relay" else PASS

    def _charged(
        self, request: Mapping[str, str], context: str, now: float
    ) -> tuple[AccountView | None, str, Refusal | None]:
        """Return who is charged, by which way he came, and why he may not send, if so."""
        sender = request.get("sender", "").lower()
        if context == "submission":
            name = request.get("sasl_username", "").lower()
            account = self._directory.account(name)
            if account is None:
                return None, "auth", Refusal("account", what=name)
            if sender and not self._directory.may_send(account, sender):
                return account, "auth", Refusal("sender", what=sender)
            return account, "auth", None
        grants = self._grants.valid(request.get("client_address", ""), now)
        accounts = [view for grant in grants if (view := self._directory.account(grant.account))]
        for account in accounts:
            if sender and self._directory.may_send(account, sender):
                return account, "login", None
        if context == "rcpt":
            return None, "login", None
        if not accounts:
            return None, "login", Refusal("no-login", limit=self._window)
        return accounts[0], "login", Refusal("sender", what=sender or "<>")

    def _judge(
        self, message: Message, recipient: str, request: Mapping[str, str], now: float
    ) -> Refusal | None:
        """Say why this recipient may not be added to the message, None if it may."""
        declared = size_of(request.get("size", ""))
        account = message.account
        if account is not None and (refused := self._over(account, message, request, now)):
            return refused
        for found in self._directory.lists_behind(recipient):
            limit = _list_limit(account, found)
            if declared > limit:
                return Refusal("list-size", limit, declared, found.address)
        return None

    def _over(
        self, account: AccountView, message: Message, request: Mapping[str, str], now: float
    ) -> Refusal | None:
        limits, nth = account.limits, len(message.recipients) + 1
        declared = size_of(request.get("size", ""))
        if declared > limits.message_bytes:
            return Refusal("size", limits.message_bytes, declared)
        if not request.get("sender") and nth > 1:
            return Refusal("null-sender", 1, nth)
        if nth > limits.recipients_per_message:
            return Refusal("message-recipients", limits.recipients_per_message, nth)
        return self._over_day(account, 1, now)

    def _over_day(self, account: AccountView, more: int, now: float) -> Refusal | None:
        used, domain_used = self._ledger.today(account, now)
        limits = account.limits
        if used + more > limits.recipients_per_day:
            return Refusal("day-recipients", limits.recipients_per_day, used)
        most = limits.domain_recipients_per_day
        if most and domain_used + more > most:
            return Refusal("domain-recipients", most, domain_used)
        return None

    # Ends

    def _end(self, request: Mapping[str, str], instance: str, now: float) -> str:
        message = self._ledger.message(instance)
        if message is None:
            return self._late_end(request, instance, now)
        account, size = message.account, size_of(request.get("size", ""))
        if refused := _too_large(message, size):
            answer = self._refuse(refused, account, request, now)
            if not message.counted:
                self._ledger.lapse(instance)
            return answer
        self._ledger.count(message)
        return PASS

    def _late_end(self, request: Mapping[str, str], instance: str, now: float) -> str:
        """Answer for a message of which nothing is known any more, or never was."""
        if self._ledger.was_counted_before(instance):
            return self._end_size(request, now)
        context = "submission" if request.get("policy_context") == "end_submission" else "rcpt"
        account, way, refused = self._charged(request, context, now)
        if refused is not None:
            return self._refuse(refused, account, request, now)
        if account is None:
            return PASS
        recipients = max(size_of(request.get("recipient_count", "")), 1)
        if self._over_day(account, recipients, now):
            return LATER
        answer = self._end_size(request, now)
        if answer == PASS:
            ip = request.get("client_address", "")
            message = self._ledger.begin(instance, account, ip, way, now)
            self._ledger.count_unreserved(message, recipients)
        return answer

    def _end_size(self, request: Mapping[str, str], now: float) -> str:
        """Judge a message by its size alone: its recipients are not known any more."""
        context = "submission" if request.get("policy_context") == "end_submission" else "rcpt"
        account, _, _ = self._charged(request, context, now)
        size = size_of(request.get("size", ""))
        if account is not None and size > account.limits.message_bytes:
            refused = Refusal("size", account.limits.message_bytes, size)
            return self._refuse(refused, account, request, now)
        return PASS

    # Refusals

    def _refuse(
        self,
        refused: Refusal,
        account: AccountView | None,
        request: Mapping[str, str],
        now: float,
    ) -> str:
        name = account.name if account else refused.what if refused.reason == "account" else ""
        recipient = request.get("recipient", "")
        if account is not None:
            self._ledger.refuse(
                account.name, refused.reason, refused.limit, refused.reached, recipient, now
            )
        # Refused at its end, a message stays Postfix's current one: 3.7 answers the next MAIL
        # with "nested MAIL command", and crashes at the next DATA. So the connection ends.
        at_end = request.get("policy_context", "") in ENDS
        answer = texts.refusal(
            refused.reason,
            hang_up=at_end,
            help_url=self._help_url,
            limit=refused.limit,
            reached=refused.reached,
            what=refused.what,
            account=name,
        )
        _log.info(
            "refused %s: account=%a client=%a sender=%a recipient=%a: %s",
            refused.reason,
            name,
            request.get("client_address", ""),
            request.get("sender", ""),
            recipient,
            answer,
        )
        return answer


def _list_limit(account: AccountView | None, found: ListView) -> int:
    return account.limits.list_message_bytes if account else found.message_bytes


def _too_large(message: Message, size: int) -> Refusal | None:
    account = message.account
    if account is not None and size > account.limits.message_bytes:
        return Refusal("size", account.limits.message_bytes, size)
    for found in message.lists.values():
        limit = _list_limit(account, found)
        if size > limit:
            return Refusal("list-size", limit, size, found.address)
    return None
