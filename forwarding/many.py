"""Many forwarding addresses of one domain, added and changed together.

The rules are those of one address (forwarding.models, forwarding.routes), each edit judged as if
those before it were done; what they ask is looked up once for all. `save` writes all that were
accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from django.utils.translation import gettext as _

from accounts.models import Domain, accounts_by_address
from forwarding import taken
from forwarding.models import Destination, ForwardingAddress
from forwarding.routes import ManyEdits
from mailhost.records import Address
from propagation.models import Change, Proposal, parts


class ManyForwards:
    """Edits of forwarding addresses. To be saved, it is made and saved under one_at_a_time()."""

    def __init__(self, domain: Domain, edits: Mapping[str, Sequence[str]]) -> None:
        """Take the domain, and every local part that is to be led somewhere, and where to.

        Destinations are as forwarding.addresses.clean_destinations() returns them.
        """
        self._domain = domain
        self._own = dict(
            Domain.objects.filter(customer=domain.customer_id).values_list("name", "server_id")
        )
        self._hosted = _hosted(edits)
        self._rows = _rows(domain, list(edits))
        self._near_lists = taken.lists_names_among(domain, edits)
        at = {f"{local}@{domain.name}": self.hosted_form(to) for local, to in edits.items()}
        self._boxes = accounts_by_address({*at, *(to for leads in at.values() for to in leads)})
        self._leaving = Change.objects.leaving(
            domain.server, [row.key for row in self._rows.values()]
        )
        lowered = {address: [to.lower() for to in leads] for address, leads in at.items()}
        self._map = ManyEdits(lowered, customer_id=domain.customer_id)
        self._edits: list[tuple[ForwardingAddress, Address | None, list[str]]] = []

    def hosted_form(self, destinations: Sequence[str]) -> list[str]:
        """Return the destinations as they are stored: those of hosted domains in lower case."""
        return [to.lower() if to.rpartition("@")[2] in self._hosted else to for to in destinations]

    def leads_to(self, local_part: str) -> list[str] | None:
        """Return where an address leads at present; None where it does not, or is going."""
        row = self._rows.get(local_part)
        return None if row is None or row.key in self._leaving else row.leads_to()

    def lead(self, local_part: str, destinations: Sequence[str]) -> None:
        """Lead an address there, whether it exists or not; ValidationError says why not."""
        if not local_part:
            raise ValidationError(
                _("Where mail for all other names goes is set in Email Forwarding, not by a file."),
                code="catch_all",
            )
        leads = self.hosted_form(destinations)
        row = self._rows.get(local_part) or ForwardingAddress(
            domain=self._domain, local_part=local_part
        )
        if local_part in self._near_lists:
            taken.refuse_lists_name(self._domain, local_part)
        row.check_itself(leads, has_mailbox=row.address in self._boxes)
        self._map.lead(row.address, leads)
        was = tuple(row.leads_to()) if row.pk else ()
        before = Address(local_part, self._domain.name, was) if was else None
        self._edits.append((row, before, leads))

    def save(self, *, by: Any = None) -> None:
        """Write all that was accepted, and tell the server."""
        new = [row for row, _before, _leads in self._edits if row.pk is None]
        ForwardingAddress.objects.bulk_create(new, batch_size=500)
        for some in parts([row.pk for row, _before, _leads in self._edits]):
            Destination.objects.filter(forwarding__in=some).delete()
        Destination.objects.bulk_create(
            [
                Destination(forwarding=row, address=to, position=position)
                for row, _before, leads in self._edits
                for position, to in enumerate(leads)
            ],
            batch_size=500,
        )
        proposals = [
            Proposal(
                before,
                Address(row.local_part, self._domain.name, tuple(leads)),
                row.needs(leads, own=self._own, boxes=self._boxes),
            )
            for row, before, leads in self._edits
        ]
        Change.objects.propose_many(self._domain.server, proposals, by=by)


def _hosted(edits: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the hosted domains among those of the destinations."""
    names = {to.rpartition("@")[2] for leads in edits.values() for to in leads}
    return {
        name
        for some in parts(list(names))
        for name in Domain.objects.filter(name__in=some).values_list("name", flat=True)
    }


def _rows(domain: Domain, local_parts: list[str]) -> dict[str, ForwardingAddress]:
    """Return the domain's addresses among these, with where they lead."""
    ordered = Prefetch("destinations", Destination.objects.order_by("position"))
    found = {}
    for some in parts(local_parts):
        rows = domain.forwarding_addresses.filter(local_part__in=some).prefetch_related(ordered)
        for row in rows:
            row.domain = domain
            found[row.local_part] = row
    return found
