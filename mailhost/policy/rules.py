"""The sending rules: what Postfix is answered about a recipient and about a message's end.

The manual's section 5, points 5 to 7. A message is charged to the account that logged in (SMTP
AUTH), or to the one that received its mail from the same address (POP-before-SMTP) and may use
the envelope sender; all else is mail from outside, of which only what is for a mailing list is
judged: its size, and whether the list takes mail by its envelope sender. Refused here, nothing
has to be returned to a sender who may be forged; the lists' daemon judges the From line as well.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailhost.config import HostConfig
from mailhost.policy import replies, texts
from mailhost.policy.directory import AccountView, Directory, Limits, ListView
from mailhost.policy.grants import Grants
from mailhost.policy.ledger import LONGEST, Ledger
from mailhost.policy.messages import Message
from mailhost.policy.request import Request
from mailhost.records import posters_only

#: Answers that are no refusal (access(5), SMTPD_POLICY_README).
PASS, RELAY = "DUNNO", "OK"
#: Who asks about a recipient, and about a message that has come in whole (main.cf).
RECIPIENTS = frozenset(("relay", "rcpt", "submission", "webmail"))
ENDS = frozenset(("end", "end_submission", "end_webmail"))
# Where nobody gets in without his password, and how that is counted.
_BY_PASSWORD = {"submission": "auth", "webmail": "webmail"}
_CONTEXTS = RECIPIENTS | ENDS
# 421 ends the connection (access(5)).
LATER = "421 4.3.0 Try again later: this message took too long, and was forgotten meanwhile"

# Postfix asks nothing without an instance, which has some 25 characters.
CONFUSED = "451 4.3.5 Server configuration error"
_LONGEST_INSTANCE = 100

_log = logging.getLogger("mailhost.policy")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is refused; `limit` and `reached` are what the words name."""

    reason: str
    limit: int = 0
    reached: int = 0
    what: str = ""


def fold(address: str, directory: Directory) -> tuple[str, bool]:
    """Return an address as it is counted, and whether its domain is ours.

    The domain is in lower case, of one that is ours the whole address. What is too long for an
    address, and for memory, is told apart by a hash.
    """
    if len(address) > LONGEST:
        return hashlib.sha256(address.encode()).hexdigest(), False
    local_part, at, domain = address.rpartition("@")
    domain = domain.lower()
    if directory.is_hosted(domain):
        return address.lower(), True
    return f"{local_part}{at}{domain}", False


@lru_cache(10_000)
def size_of(text: str) -> int:
    """Return a message's size in bytes as Postfix says it, 0 where it does not."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def over_day(limits: Limits, used: int, domain_used: int, more: int) -> Refusal | None:
    """Say why so many recipients more are too many for the day, None if they are not.

    `used` are those that count already, the account's and its domain's.
    """
    if used + more > limits.recipients_per_day:
        return Refusal("day-recipients", limits.recipients_per_day, used)
    most = limits.domain_recipients_per_day
    if most and domain_used + more > most:
        return Refusal("domain-recipients", most, domain_used)
    return None


class Rules:
    """Answers Postfix's questions, one at a time."""

    def __init__(
        self, config: HostConfig, directory: Directory, grants: Grants, ledger: Ledger
    ) -> None:
        """Take what is asked and where it is counted."""
        self._directory = directory
        self._grants = grants
        self._ledger = ledger
        self._config = config
        self._help_url = config.help_url
        self._window = config.window_minutes

    def answer(self, request: Request, now: float) -> str:
        """Return the action for a request of the policy delegation protocol.

        `policy_context` says who asks: relay and rcpt on the port for other servers, submission
        on the customers' own, webmail on webmail's; end, end_submission and end_webmail there when
        a message has come in whole. On the port of auto-replies it is reply: nothing is counted.
        """
        context = request.policy_context
        instance = request.instance
        if context not in _CONTEXTS:
            return replies.answer(request, self._config) if context == replies.CONTEXT else PASS
        if not 0 < len(instance) <= _LONGEST_INSTANCE:
            return CONFUSED
        message = self._ledger.seen(instance, now)
        if context in ENDS:
            return self._end(request, message, now)
        return self._recipient(request, context, message, now)

    def lacks_login(self, request: Request, now: float) -> bool:
        """Say whether a recipient would be refused now, but might not be after one more login."""
        message = self._ledger.current(request.instance)
        so_far = message.account if message else ""
        *_, refused = self._charged(request, request.policy_context, so_far, now)
        return refused is not None

    # Recipients

    def _recipient(
        self, request: Request, context: str, message: Message | None, now: float
    ) -> str:
        account, way, refused = self._charged(
            request, context, message.account if message else "", now
        )
        if refused is not None:
            return self._refuse(refused, account, message, request, now)
        if message is None or (account is not None and not message.account):
            ip = request.client_address
            message = self._ledger.begin(request.instance, account, ip, way, now)
        recipient, hosted = fold(request.recipient, self._directory)
        if hosted and self._directory.is_full(recipient, now):
            refused = Refusal("full", what=recipient)
            return self._refuse(refused, account, message, request, now)
        if recipient not in message.recipients or message.lapsed:
            lists = self._directory.lists_behind(recipient) if hosted else ()
            refused = self._judge(account, message, lists, request, now)
            if refused is not None:
                return self._refuse(refused, account, message, request, now)
            if message.lapsed:
                self._ledger.take_again(message, now)
            if lists:
                message.listed = True
            if account is not None or lists:
                self._ledger.reserve(message, recipient)
        if context == "relay":
            # Postfix asks about it once more, as `rcpt`.
            return RELAY
        message.passed += 1
        return PASS

    def _charged(
        self, request: Request, context: str, so_far: str, now: float
    ) -> tuple[AccountView | None, str, Refusal | None]:
        """Return who is charged, by which way he came, and why he may not send, if so.

        `so_far` is the account to which the message's earlier recipients are charged, or "".
        """
        # Of what is no ASCII the Kelvin sign (U+212A) would be a "k" in lower case.
        sender = request.sender.lower() if request.sender.isascii() else request.sender
        if way := _BY_PASSWORD.get(context):
            name = request.sasl_username.lower()
            account = self._directory.account(name)
            if account is None:
                return None, way, Refusal("account", what=name)
            if sender and not self._directory.may_send(account, sender):
                return account, way, Refusal("sender", what=sender)
            return account, way, None
        grants = self._grants.valid(request.client_address, now)
        accounts = [view for grant in grants if (view := self._directory.account(grant.account))]
        for account in accounts:
            right = not so_far or account.name == so_far
            if right and sender and self._directory.may_send(account, sender):
                return account, "login", None
        if context == "rcpt" and not so_far:
            return None, "login", None
        if not accounts or so_far:
            opens = self._grants.may_open(request.client_address)
            helps = opens and not self._directory.only_by_password(sender)
            return None, "login", Refusal("no-login", limit=self._window if helps else 0)
        return accounts[0], "login", Refusal("sender", what=sender or "<>")

    def _judge(
        self,
        account: AccountView | None,
        message: Message,
        lists: Sequence[ListView],
        request: Request,
        now: float,
    ) -> Refusal | None:
        """Say why this recipient may not be added to the message, None if it may."""
        declared = size_of(request.size)
        if account is not None:
            sender = request.sender
            if refused := self._over(account, message, sender, declared, now):
                return refused
        return self._closed(lists, request.sender.lower()) or _over_list(account, lists, declared)

    def _closed(self, lists: Sequence[ListView], sender: str) -> Refusal | None:
        """Say which list takes nothing by this sender; one without an address gets no answer."""
        for found in lists if sender else ():
            if not self._directory.may_post(found, sender):
                return Refusal("list-posters", what=posters_only(found.posters, found.address))
        return None

    def _over(
        self, account: AccountView, message: Message, sender: str, declared: int, now: float
    ) -> Refusal | None:
        limits, nth = account.limits, len(message.recipients) + 1
        if declared > limits.message_bytes:
            return Refusal("size", limits.message_bytes, declared)
        if nth > 1 and not sender:
            return Refusal("null-sender", 1, nth)
        if nth > limits.recipients_per_message:
            return Refusal("message-recipients", limits.recipients_per_message, nth)
        more = 1 + message.open if message.lapsed else 1
        return self._over_day(account, message, more, now)

    def _over_day(
        self, account: AccountView, message: Message, more: int, now: float
    ) -> Refusal | None:
        """Judge by the day the message belongs to; what has lapsed is given up before."""
        if refused := self._exceeds(account, message, more, now):
            self._ledger.lapse(now)
            refused = self._exceeds(account, message, more, now)
        return refused

    def _exceeds(
        self, account: AccountView, message: Message, more: int, now: float
    ) -> Refusal | None:
        day = self._ledger.day(now) if message.lapsed else message.day
        return over_day(account.limits, *self._ledger.used(account, day), more)

    # Ends

    def _end(self, request: Request, message: Message | None, now: float) -> str:
        if message is None:
            return self._unknown_end(request, now)
        account = self._directory.account(message.account) if message.account else None
        if refused := self._judge_end(account, message, size_of(request.size), now):
            self._ledger.give_back(message)
            return self._refuse(refused, account, message, request, now)
        if account is not None and size_of(request.recipient_count) > message.passed:
            # Some came in while this daemon was down, and are not counted.
            self._ledger.give_back(message)
            return LATER
        if message.lapsed:
            self._ledger.take_again(message, now)
        self._ledger.count(message, now)
        return PASS

    def _judge_end(
        self, account: AccountView | None, message: Message, size: int, now: float
    ) -> Refusal | None:
        """Say why the whole message is refused, None if it is not."""
        if message.account and account is None:
            return Refusal("account", what=message.account)
        if account is not None and size > account.limits.message_bytes:
            return Refusal("size", account.limits.message_bytes, size)
        for recipient in message.recipients if message.listed else ():
            lists = self._directory.lists_behind(recipient)
            if refused := _over_list(account, lists, size):
                return refused
        if account is not None and message.lapsed:
            return self._over_day(account, message, message.open, now)
        return None

    def _unknown_end(self, request: Request, now: float) -> str:
        """Answer for a message whose recipients nobody asked about, or nobody remembers."""
        port = request.policy_context.removeprefix("end").removeprefix("_")
        account, _, refused = self._charged(request, port or "rcpt", "", now)
        if refused is not None:
            return self._refuse(refused, account, None, request, now)
        if account is not None:
            # It would not be counted.
            return LATER
        lists = self._directory.lists_behind(fold(request.recipient, self._directory)[0])
        if refused := _over_list(None, lists, size_of(request.size)):
            return self._refuse(refused, None, None, request, now)
        return PASS

    # Refusals

    def _refuse(
        self,
        refused: Refusal,
        account: AccountView | None,
        message: Message | None,
        request: Request,
        now: float,
    ) -> str:
        name = account.name if account else refused.what if refused.reason == "account" else ""
        sender, recipient = request.sender, request.recipient
        # Of a message that is too many for hundreds of recipients the first is enough to show.
        told = message.told if message is not None else set()
        if account is not None and refused.reason not in told:
            told.add(refused.reason)
            figures = (refused.reason, refused.limit, refused.reached)
            self._ledger.refuse(account.name, *figures, sender, recipient, now)
        # Refused at its end, a message stays Postfix's current one: 3.7 answers the next MAIL
        # with "nested MAIL command", and crashes at the next DATA. So the connection ends.
        at_end = request.policy_context in ENDS
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
            request.client_address,
            sender,
            recipient,
            answer,
        )
        return answer


def _over_list(account: AccountView | None, lists: Sequence[ListView], size: int) -> Refusal | None:
    for found in lists:
        limit = account.limits.list_message_bytes if account else found.message_bytes
        if size > limit:
            return Refusal("list-size", limit, size, found.address)
    return None
