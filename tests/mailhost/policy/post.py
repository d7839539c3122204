"""Postfix's questions to the policy daemon, without its socket and with a clock by hand."""

from __future__ import annotations

import itertools
from typing import Any

from mailhost.policy.holders import Holders
from mailhost.policy.ledger import Clock, Ledger
from mailhost.policy.repeats import Repeats
from mailhost.policy.request import Request
from mailhost.policy.rules import Rules
from mailhost.records import HostedDomain, MailingList, PlanLimits
from tests.mailhost.policy.logins import ALICE, HOME, Logins

SENDER = ALICE.address
_numbers = itertools.count(1)


class Post(Logins):
    """A mail server's policy daemon; `now` is its clock."""

    def start(self) -> None:
        """Begin as a new process does."""
        super().start()
        self.clock_of_days = Clock(self.config.time_zone)
        self.ledger = Ledger(self.db, self.clock_of_days, self.now)
        self.directory.notice = Holders(self.db, self.ledger, self.throttle).notice
        self.rules = Rules(self.config, self.directory, self.grants, self.ledger)
        self.repeats = Repeats(self.directory, self.ledger)

    def stop(self) -> None:
        """End, all written."""
        self.ledger.close()
        super().stop()

    def plan(self, **limits: Any) -> None:
        """Give the accounts' plan these limits in place of the usual ones."""
        self.put(PlanLimits("light", **limits))

    def ask(self, **attributes: str) -> str:
        """Ask as Postfix does; the commit follows at once."""
        action = self.rules.answer(Request("smtpd_access_policy", **attributes), self.now)
        self.db.flush()
        return action

    def message(self, sender: str = SENDER, *, process: str = "", **attributes: str) -> Message:
        """Begin a message that alice sends with her password, unless `attributes` say else."""
        usual = {"sasl_username": "alice", "client_address": HOME, "policy_context": "submission"}
        return Message(self, sender, process, usual | attributes)

    def by_window(
        self, sender: str = SENDER, *, source: str = HOME, local: bool = False
    ) -> Message:
        """Begin a message of someone at an address, without a password."""
        context = "rcpt" if local else "relay"
        return self.message(sender, sasl_username="", client_address=source, policy_context=context)

    def used(self, account: str = "alice") -> int:
        """Return what the daemon counts today, what is reserved included."""
        view = self.directory.account(account)
        assert view
        return self.ledger.used(view, self.ledger.day(self.now))[0]

    def on_record(self, account: str = "alice") -> int:
        """Return what is counted for good, with what is written each second."""
        self.ledger.settle()
        query = "SELECT coalesce(sum(recipients), 0) FROM count WHERE account = ?"
        return int(self.db.query(query, (account,))[0][0])


class Message:
    """A message on its way; each has an instance of its own, and a process unless one is given."""

    def __init__(self, post: Post, sender: str, process: str, attributes: dict[str, str]) -> None:
        """Take what all questions about it have in common."""
        number = next(_numbers)
        self.instance = f"{process or f'{number:x}'}.65a.{number:x}.0"
        self._post = post
        self._common = attributes | {"sender": sender, "instance": self.instance}
        self.accepted = 0

    def to(self, *recipients: str, size: int = 0) -> str:
        """Ask about recipients; return the last answer."""
        action = ""
        for recipient in recipients:
            action = self._post.ask(**self._common, recipient=recipient, size=str(size))
            self.accepted += action in ("DUNNO", "OK")
            if action == "OK":
                # What is relayed is asked about once more.
                again = self._common | {"policy_context": "rcpt"}
                assert self._post.ask(**again, recipient=recipient, size=str(size)) == "DUNNO"
        return action

    def end(self, size: int = 1000, **attributes: str) -> str:
        """Tell that it has come in whole; return the answer."""
        asked = self._common["policy_context"]
        context = f"end_{asked}" if asked in ("submission", "webmail") else "end"
        usual = {"policy_context": context, "recipient_count": str(self.accepted)}
        return self._post.ask(**(self._common | usual | {"size": str(size)} | attributes))


def people(count: int, word: str = "p") -> list[str]:
    """Return so many addresses elsewhere."""
    return [f"{word}{n}@outside.test" for n in range(count)]


def news(posters: str = "anyone") -> MailingList:
    """Return a mailing list of alice's domain."""
    return MailingList("news", "example.com", "News", SENDER, posters)


def domain(name: str, owner: str, plan: str = "light") -> HostedDomain:
    """Return a domain of a customer's, whose fixed account is alice."""
    return HostedDomain(name, SENDER, owner=owner, plan=plan)
