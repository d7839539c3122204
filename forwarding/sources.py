"""What this app tells the mail servers, and what it does once they have confirmed it."""

from collections.abc import Iterator, Sequence

from django.db.models import Prefetch
from django.utils.translation import gettext as _

from accounts.models import Domain
from accounts.names import readable_address
from forwarding import routes
from forwarding.models import Destination, ForwardingAddress
from mailhost.records import Address
from propagation.models import Change, MailServer, parts


class AddressSource:
    """Forwarding addresses."""

    kind = "address"

    def records(self, server: MailServer) -> Iterator[Address]:
        """Yield a record per address of this server, without those that are being deleted."""
        gone = Change.objects.leaving(server)
        rows = ForwardingAddress.objects.filter(domain__server=server).select_related("domain")
        ordered = Prefetch("destinations", Destination.objects.order_by("position"))
        for row in rows.prefetch_related(ordered).iterator(chunk_size=2000):
            if row.key not in gone and (leads_to := tuple(row.leads_to())):
                yield Address(row.local_part, row.domain.name, leads_to)

    def record(self, server: MailServer, key: str) -> Address | None:
        """Return the record of one address."""
        if key in Change.objects.leaving(server, [key]):
            return None
        row = _row(key)
        return row.record() if row and row.domain.server_id == server.pk else None

    def restore(self, change: Change) -> None:
        """Let the address lead where the server still leads it."""
        row = _row(change.key)
        if row is not None:
            was = change.was()
            row.restore(was if isinstance(was, Address) else None)

    def check(self, change: Change) -> None:
        """Refuse what would now go in a circle, by another edit made meanwhile."""
        address = change.key.partition(":")[2]
        domain = Domain.objects.get(name=change.domain)
        was = change.was()
        if isinstance(was, Address):
            routes.check(address, was.destinations, customer_id=domain.customer_id)
        else:
            routes.check(address, (), customer_id=domain.customer_id)

    def applied(self, changes: Sequence[Change]) -> None:
        """Remove the rows of addresses that are gone."""
        gone = {change.key for change in changes if change.removes}
        domains = {change.domain for change in changes if change.removes}
        rows = ForwardingAddress.objects.filter(domain__name__in=domains).select_related("domain")
        leaving = [row.pk for row in rows.iterator() if row.key in gone]
        for pks in parts(leaving):
            ForwardingAddress.objects.filter(pk__in=pks).delete()

    def describe(self, change: Change) -> str:
        """Say what happens to the address."""
        address = change.key.partition(":")[2]
        names = {
            "address": readable_address(address if not address.startswith("@") else f"*{address}"),
            "to": ", ".join(map(readable_address, (change.after or {}).get("destinations", []))),
        }
        if change.creates:
            return _("Forward %(address)s to %(to)s") % names
        if change.removes:
            return _("No longer forward %(address)s") % names
        return _("From now on forward %(address)s to %(to)s") % names


def _row(key: str) -> ForwardingAddress | None:
    local_part, _at, domain = key.partition(":")[2].rpartition("@")
    rows = ForwardingAddress.objects.select_related("domain")
    return rows.filter(domain__name=domain, local_part=local_part).first()


addresses = AddressSource()
