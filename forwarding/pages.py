"""What lists show about forwarding, in a fixed number of queries whatever their length."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts.models import Domain
from accounts.names import readable_address
from forwarding import routes
from forwarding.models import Destination, ForwardingAddress
from propagation.prepared import Prepared
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


@dataclass(frozen=True, slots=True)
class Reach:
    """Through which addresses mail comes to a mailbox, and where its own address is led."""

    own: str
    addresses: list[str] = field(default_factory=list)
    leads_to: list[str] = field(default_factory=list)

    @property
    def passed_by(self) -> bool:
        """Whether mail for the mailbox's own address is forwarded without a copy here."""
        return bool(self.leads_to) and self.own not in self.leads_to


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
    """Return from which of these addresses no mail arrives anywhere, at any depth."""
    wanted = {to.lower() for to in destinations}
    try:
        found = routes.load(wanted)
    except ValidationError:
        # A list that fans out so far leads somewhere; what exactly is not worth the time.
        return set()
    return {address for address in wanted if not found.arrives(address)}


def reach(domain: Domain, names: Collection[str]) -> dict[str, Reach]:
    """Return, per name of a mailbox of the domain, how mail gets there and where else it goes."""
    found = {f"{name}@{domain.name}": Reach(f"{name}@{domain.name}") for name in names}
    rows = _concerning(addresses=list(found), names=list(names), domain=domain.pk)
    for to, local_part, led_domain, customer in rows:
        address = f"{local_part}@{led_domain}"
        if address in found:
            found[address].leads_to.append(to)
        elif customer == domain.customer_id and local_part:
            found[to].addresses.append(readable_address(address))
    return {address.partition("@")[0]: way for address, way in found.items()}


@Prepared
def _concerning(addresses: list[str], names: list[str], domain: int) -> QuerySet[Any, Any]:
    """Find what leads to these addresses, and where these names of the domain are led."""
    columns = (
        "lowered",
        "forwarding__local_part",
        "forwarding__domain__name",
        "forwarding__domain__customer",
    )
    to_them = Destination.objects.filter(lowered__in=addresses)
    instead = Destination.objects.filter(
        forwarding__local_part__in=names, forwarding__domain=domain
    )
    # A union, since no index serves an OR of two tables.
    return to_them.order_by().values_list(*columns).union(instead.order_by().values_list(*columns))
