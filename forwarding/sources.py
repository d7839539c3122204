"""What this app tells the mail servers, and what it does once they have confirmed it."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Domain
from accounts.names import readable_address
from forwarding import routes
from forwarding.models import Destination, ForwardingAddress, MailingList, Member
from mailhost import records as recorded
from mailhost.records import Address
from propagation.models import Change, MailServer, parts

T = TypeVar("T", ForwardingAddress, MailingList)


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
        _forget(ForwardingAddress, changes)

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


class MailingListSource:
    """Mailing lists."""

    kind = "list"

    def records(self, server: MailServer) -> Iterator[recorded.MailingList]:
        """Yield a record per list of this server, without those that are being deleted."""
        gone = Change.objects.leaving(server)
        rows = MailingList.objects.filter(domain__server=server).select_related("domain")
        present = Prefetch("members", Member.objects.filter(left_at=None))
        for row in rows.prefetch_related(present).iterator(chunk_size=200):
            if row.key not in gone:
                yield row.record_with(member.address for member in row.members.all())

    def record(self, server: MailServer, key: str) -> recorded.MailingList | None:
        """Return the record of one list."""
        if key in Change.objects.leaving(server, [key]):
            return None
        row = _list(key)
        return row.record() if row and row.domain.server_id == server.pk else None

    def restore(self, change: Change) -> None:
        """Let the list be what the server still has, but for the members who have left."""
        row = _list(change.key)
        if row is not None:
            row.restore(change)

    def check(self, change: Change) -> None:
        """Refuse what would now go in a circle, by another edit made meanwhile."""
        address = change.key.partition(":")[2]
        customer = Domain.objects.get(name=change.domain).customer_id
        was = change.was()
        if isinstance(was, recorded.MailingList):
            routes.check(address, was.members, customer_id=customer, is_list=True)
        else:
            routes.check(address, (), customer_id=customer)

    def applied(self, changes: Sequence[Change]) -> None:
        """Remove the rows of lists that are gone, and of members whose leaving is confirmed."""
        _forget(MailingList, changes)
        for change in changes:
            if not change.removes and (row := _list(change.key)):
                row.forget_those_who_left((change.after or {}).get("members", []))

    def describe(self, change: Change) -> str:
        """Say what happens to the list, in numbers of members."""
        address = {"address": readable_address(change.key.partition(":")[2])}
        if change.creates:
            return _("Make the mailing list %(address)s") % address
        if change.removes:
            return _("Delete the mailing list %(address)s") % address
        words = _("Mailing list %(address)s: %(what)s")
        return words % {**address, "what": ", ".join(_differences(change))}


def _differences(change: Change) -> list[str]:
    """Say in what a changed list differs from what it was."""
    before, after = dict(change.before or {}), dict(change.after or {})
    was, becomes = set(before.pop("members", [])), set(after.pop("members", []))
    words = []
    if more := len(becomes - was):
        words.append(ngettext("%(count)d new member", "%(count)d new members", more))
        words[-1] %= {"count": more}
    if fewer := len(was - becomes):
        words.append(ngettext("%(count)d member leaves", "%(count)d members leave", fewer))
        words[-1] %= {"count": fewer}
    if before != after or not words:
        words.append(_("other settings"))
    return words


def _forget(model: type[ForwardingAddress | MailingList], changes: Sequence[Change]) -> None:
    """Remove the rows whose records are gone."""
    gone = {change.key for change in changes if change.removes}
    domains = {change.domain for change in changes if change.removes}
    rows = model._default_manager.filter(domain__name__in=domains).select_related("domain")
    leaving = [row.pk for row in rows.iterator() if row.key in gone]
    for pks in parts(leaving):
        model._default_manager.filter(pk__in=pks).delete()


def _row(key: str) -> ForwardingAddress | None:
    return _at(ForwardingAddress.objects.all(), key)


def _list(key: str) -> MailingList | None:
    return _at(MailingList.objects.all(), key)


def _at(rows: QuerySet[T], key: str) -> T | None:
    """Return the row of the record called `key`."""
    local_part, _at, domain = key.partition(":")[2].rpartition("@")
    return (
        rows.filter(domain__name=domain, local_part=local_part)
        .select_related("domain__server")
        .first()
    )


addresses = AddressSource()
lists = MailingListSource()
