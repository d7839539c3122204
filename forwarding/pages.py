"""What lists show about forwarding, in a fixed number of queries whatever their length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accounts.models import Account, Domain
from accounts.names import readable_address
from forwarding import routes
from forwarding.models import Destination, ForwardingAddress
from propagation.progress import Progress, progress_of


@dataclass(frozen=True, slots=True)
class Lead:
    """One destination as a row shows it."""

    address: str
    nowhere: bool = False
    own_mailbox: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    forwarding: ForwardingAddress
    leads: list[Lead]
    live: list[str]
    progress: Progress

    @property
    def dead(self) -> bool:
        """Whether no mail to this address arrives anywhere."""
        return bool(self.leads) and all(lead.nowhere for lead in self.leads)


def rows(domain: Domain, forwards: Sequence[ForwardingAddress]) -> list[Row]:
    """Put together what the list shows; `forwards` come with their destinations."""
    for forwarding in forwards:
        forwarding.domain = domain
    progress = progress_of(domain.server_id, [row.key for row in forwards])
    nowhere = dead_ends(to for row in forwards for to in row.leads_to())
    return [_row(forwarding, progress[forwarding.key], nowhere) for forwarding in forwards]


def _row(forwarding: ForwardingAddress, progress: Progress, nowhere: set[str]) -> Row:
    leads_to = forwarding.leads_to()
    change = progress.change
    live = (change.before or {}).get("destinations", []) if change and not change.removes else []
    return Row(
        forwarding=forwarding,
        leads=[
            Lead(readable_address(to), to.lower() in nowhere, to == forwarding.address)
            for to in leads_to
        ],
        live=[readable_address(to) for to in live] if live != leads_to else [],
        progress=progress,
    )


def dead_ends(destinations: Iterable[str]) -> set[str]:
    """Return which of these addresses are hosted here and stand for nothing."""
    stops = routes.load(destinations, steps=1).stops
    return {address for address, stop in stops.items() if stop.end == routes.End.NOWHERE}


def leading_to(accounts: Iterable[Account]) -> dict[str, list[str]]:
    """Return, per mailbox address, the forwarding addresses that name it, readable."""
    wanted = [account.address for account in accounts]
    named = Destination.objects.filter(lowered__in=wanted).values_list(
        "lowered",
        "forwarding__local_part",
        "forwarding__domain__name",
        "forwarding__domain__customer",
    )
    owners = {account.address: account.domain.customer_id for account in accounts}
    found: dict[str, list[str]] = defaultdict(list)
    for mailbox, local_part, domain, customer in named:
        address = f"{local_part}@{domain}"
        if address != mailbox and customer == owners[mailbox] and local_part:
            found[mailbox].append(readable_address(address))
    return {mailbox: sorted(addresses) for mailbox, addresses in found.items()}
