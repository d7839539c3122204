"""Rows that tests start from, made by the doors that customers and operators use."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any, cast

from django.utils.timezone import now

from accounts.models import Account, Customer, Domain, Plan, User
from forwarding.models import ForwardingAddress, MailingList
from mailhost.host import Host, Outcome, Status
from propagation import apply
from propagation.models import Change, MailServer

PASSWORD = "correct-horse-battery"  # of every login and mailbox in tests
SERVER = "mail1.plusmail.test"
_numbers = count(1)


def make_server(name: str = SERVER, **fields: Any) -> MailServer:
    """Return a mail server's row; no server runs behind it."""
    return MailServer.objects.create(name=name, **fields)


def answer() -> None:
    """Let every mail server have reported just now that it works."""
    MailServer.objects.update(seen_at=now(), trouble="")


def make_plan(code: str = "", *, account_limit: int = 10, **fields: Any) -> Plan:
    """Return a plan."""
    code = code or f"plan{next(_numbers)}"
    return Plan.objects.create(
        code=code, name_ja=f"コース{code}", name_en=code, account_limit=account_limit, **fields
    )


def make_customer(login: str, name: str = "") -> Customer:
    """Return a customer with a login whose password is PASSWORD."""
    user = User.objects.create_user(login, password=PASSWORD)
    return Customer.objects.create(user=user, name=name or login)


def make_domain(name: str, *, customer: Customer, plan: Plan, server: MailServer) -> Domain:
    """Return a domain with its fixed account, both still pending."""
    return Domain.objects.open(
        customer=customer, name=name, plan=plan, server=server, password=PASSWORD
    )


def make_account(domain: Domain, name: str, **options: Any) -> Account:
    """Return a POP account that is still pending."""
    return Account.objects.open(domain=domain, name=name, password=PASSWORD, **options)


def make_forward(domain: Domain, local_part: str, *destinations: str) -> ForwardingAddress:
    """Return a forwarding address that is still pending."""
    return ForwardingAddress.objects.open(
        domain=domain, local_part=local_part, destinations=list(destinations)
    )


def make_list(domain: Domain, local_part: str, *members: str, **settings: Any) -> MailingList:
    """Return a mailing list that is still pending."""
    usual = {"title": "The Club", "owner_address": "owner@outside.example"}
    return MailingList.objects.open(
        domain=domain, local_part=local_part, members=members, **usual | settings
    )


def make_many_accounts(domain: Domain, number: int) -> None:
    """Fill a domain with accounts that have long been live."""
    password_hash = domain.fixed_account.password_hash
    Account.objects.bulk_create(
        [
            Account(
                domain=domain,
                server_id=domain.server_id,
                name=f"user{index:05}",
                password_hash=password_hash,
            )
            for index in range(number)
        ],
        batch_size=1000,
    )


def come_due(*servers: MailServer) -> None:
    """Let the time of every pending change come."""
    chosen = servers or tuple(MailServer.objects.all())
    Change.objects.pending().filter(server__in=chosen).update(due_at=now() - timedelta(seconds=1))


def settle(
    *servers: MailServer, status: Status = Status.APPLIED, reason: str = "", code: str = ""
) -> list[str]:
    """Let the time come and the servers answer like this; return the keys in their order.

    What becomes of a change once a server has answered is the panel's own business; how
    a server comes to its answer is proved with real servers, in tests/mail and in
    test_real_server.py.
    """
    come_due(*servers)
    keys: list[str] = []
    for server in servers or tuple(MailServer.objects.all()):
        while batch := Change.objects.claim_due(server):
            keys += [change.key for change in batch]
            outcomes = {change.key: Outcome(status, reason, code) for change in batch}
            # No server stands behind it; only a stale change is asked of one.
            apply._settle(cast("Host", None), batch, outcomes, apply.Report())
    return keys


def state_of(key: str) -> str:
    """Return the state of the newest change of a record, "" where there is none."""
    newest = Change.objects.filter(key=key).order_by("-pk").first()
    return newest.state if newest else ""


def pending(key: str) -> Change:
    """Return the pending change of a record."""
    return Change.objects.pending().get(key=key)
