"""An address of a domain, and with which mailbox one logs in by it: for its owner's eyes alone."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from accounts.models import Account, Domain, accounts_by_address, mailbox_key
from forwarding import routes
from mailhost import grammar
from propagation.progress import Progress, progress_of

_ADDRESSES = (routes.End.MAILBOX, routes.End.FORWARD)


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address as its owner sees it.

    `account` is the mailbox that its login opens. Without one (it leads to several places, or
    away) `instead` are the owner's mailboxes it leads to, whose own logins can be used.
    """

    address: str
    account: Account | None
    instead: list[Account]
    waiting: Progress | None


def find(domain: Domain, local_part: str) -> OwnAddress | None:
    """Return what the domain has at this address; None for nothing, and for a mailing list."""
    if not grammar.LOCAL_PART.match(local_part):
        return None
    address = f"{local_part}@{domain.name}"
    try:
        found = routes.load([address])
    except ValidationError:
        # It fans out farther than anything may.
        return None
    here = found.stops[address]
    # What only a catch-all takes is no address of its own.
    if here.end not in _ADDRESSES or f"@{domain.name}" in here.leads_to:
        return None
    own = _own_accounts(domain, found.reached_from(address))
    opened = address if address in own else found.mailbox_behind(address)
    account = own.get(opened)
    if account and account.server_id != domain.server_id:
        account = None
    instead = [] if account else [own[name] for name in sorted(own)]
    return OwnAddress(address, account, instead, _waiting(domain, local_part, account))


def _own_accounts(domain: Domain, addresses: set[str]) -> dict[str, Account]:
    """Return the mailboxes among these addresses that the domain's customer has."""
    return {
        address: account
        for address, account in accounts_by_address(addresses).items()
        if account.domain.customer_id == domain.customer_id
    }


def _waiting(domain: Domain, local_part: str, account: Account | None) -> Progress | None:
    """Return what keeps the login from working yet, if anything does: the last to be done."""
    keys = [f"address:{local_part}@{domain.name}"]
    if account:
        keys.append(mailbox_key(account.name))
    news = progress_of(domain.server_id, keys).values()
    late = [one for one in news if one.creating and one.due_at]
    return max(late, key=lambda one: str(one.due_at), default=None)
