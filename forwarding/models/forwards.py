"""Forwarding addresses and where they lead.

The rules of one address stand here; those of the whole map of addresses in `routes`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Account, Domain, accounts_by_address
from forwarding import addresses, routes, taken
from forwarding.models.base import AtAnAddress, LeadsTo, as_hosted
from mailhost import grammar
from mailhost.records import Address
from propagation.models import one_at_a_time


class ForwardingQuerySet(models.QuerySet["ForwardingAddress"]):
    """Which addresses, and how one comes to be."""

    def naming(self, address: str) -> ForwardingQuerySet:
        """Return the addresses that name this one as a destination."""
        return self.filter(destinations__lowered=address.lower()).distinct()

    def of_mailbox(self, account: Account) -> ForwardingAddress | None:
        """Return the forwarding of a mailbox's own address, unless it is being deleted."""
        own = self.filter(domain=account.domain_id, local_part=account.name)
        row = own.prefetch_related("destinations").first()
        if row is None:
            return None
        row.domain = account.domain
        return None if row.is_leaving() else row

    def open(
        self,
        *,
        domain: Domain,
        local_part: str,
        destinations: list[str],
        by: Any = None,
        group: uuid.UUID | None = None,
    ) -> ForwardingAddress:
        """Create a forwarding address that its server will have once the change is due.

        An empty local part is the domain's catch-all. Raises ValidationError in words
        for the customer; an address that is just being deleted is taken up again.
        """
        if local_part:
            local_part = addresses.clean_local_part(local_part)
        with transaction.atomic():
            one_at_a_time()
            row = self.filter(domain=domain, local_part=local_part).first()
            if row is not None and not row.is_leaving():
                raise ValidationError(
                    _("%(address)s is already forwarded.") % {"address": row},
                    code="exists",
                )
            if row is None:
                row = ForwardingAddress(domain=domain, local_part=local_part)
            row.lead(destinations, by=by, group=group)
        return row


class ForwardingAddress(AtAnAddress):
    """`local part @ domain`, delivering to one or more addresses; "" is the catch-all."""

    kind = "address"
    gone = gettext_lazy("This address is no longer forwarded.")

    domain = models.ForeignKey(
        Domain,
        models.PROTECT,
        related_name="forwarding_addresses",
        verbose_name=gettext_lazy("domain"),
    )
    local_part = models.CharField(gettext_lazy("part before the @"), max_length=64, blank=True)

    objects = ForwardingQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("forwarding address")
        verbose_name_plural = gettext_lazy("forwarding addresses")
        ordering = ["local_part"]
        constraints = [
            models.UniqueConstraint(
                name="address_once_per_domain",
                fields=["domain", "local_part"],
                violation_error_message=gettext_lazy("This address is already forwarded."),
                violation_error_code="exists",
            ),
            models.CheckConstraint(
                name="local_part_form",
                condition=Q(local_part="") | Q(local_part__regex=grammar.LOCAL_PART.pattern),
                violation_error_message=gettext_lazy("This name has a form that is not allowed."),
            ),
        ]

    @property
    def is_catch_all(self) -> bool:
        """Whether this takes the mail for every name that the domain does not have."""
        return self.local_part == ""

    def leads_to(self) -> list[str]:
        """Return the destinations in their order."""
        return [row.address for row in self.destinations.all()]

    def keeps_copy(self) -> bool:
        """Whether mail also stays in the mailbox of the same address."""
        return self.address in self.leads_to()

    def record(self) -> Address | None:
        """Return what the mail server holds of this address; None before it leads anywhere."""
        leads_to = tuple(
            self.destinations.order_by("position").values_list("address", flat=True)
            if self.pk
            else ()
        )
        return Address(self.local_part, self.domain.name, leads_to) if leads_to else None

    def lead(
        self, destinations: list[str], *, by: Any = None, group: uuid.UUID | None = None
    ) -> None:
        """Lead the address to these destinations from the change's due time on.

        Raises ValidationError in words for the customer; nothing is saved then.
        """
        cleaned = as_hosted(addresses.clean_destinations(destinations))
        with transaction.atomic():
            one_at_a_time()
            self._refuse_if_gone()
            self._check(cleaned)
            before = self.record()
            self._put(cleaned)
            self._propose(before, leads_to=cleaned, by=by, group=group)

    def drop(self, destination: str, *, by: Any = None, group: uuid.UUID | None = None) -> None:
        """No longer lead to `destination`; without another one the address is withdrawn."""
        if rest := self.without(destination):
            self.lead(rest, by=by, group=group)
        else:
            self.withdraw(by=by, group=group)

    def without(self, destination: str) -> list[str]:
        """Return where the address leads besides; a copy in its own mailbox needs no forward."""
        rest = [to for to in self.leads_to() if to.lower() != destination.lower()]
        return [] if rest == [self.address] else rest

    def restore(self, was: Address | None) -> None:
        """Return to what the server holds, for a change that was just cancelled."""
        if was is None:
            self.delete()
        else:
            self._put(list(was.destinations))

    def _check(self, destinations: list[str]) -> None:
        """Raise ValidationError unless this address may lead to these destinations."""
        if not self.is_catch_all:
            taken.refuse_lists_name(self.domain, self.local_part)
        copies = self.address in destinations
        has_mailbox = copies and bool(accounts_by_address([self.address]))
        self.check_itself(destinations, has_mailbox=has_mailbox)
        routes.check(self.address, destinations, customer_id=self.domain.customer_id)

    def check_itself(self, destinations: list[str], *, has_mailbox: bool) -> None:
        """Raise ValidationError for what the address may never lead to, wherever others lead.

        `has_mailbox` says whether there is one of the same address.
        """
        domain = self.domain
        fixed_elsewhere = domain.fixed_account.domain_id != domain.pk
        if self.address == domain.fixed_address:
            if fixed_elsewhere:
                raise ValidationError(
                    _("%(address)s is fixed for the administration of the service.")
                    % {"address": domain.fixed_address},
                    code="fixed",
                )
            if self.address not in destinations:
                raise ValidationError(
                    _("Keep a copy in the mailbox: our notices to you arrive there."),
                    code="fixed_copy",
                )
        if self.address in destinations and not has_mailbox:
            raise ValidationError(
                _("There is no mailbox %(address)s in which a copy could stay.")
                % {"address": self.address},
                code="self",
            )
        if destinations == [self.address]:
            raise ValidationError(
                _("This leads only to its own mailbox, as it does without forwarding."),
                code="only_self",
            )

    def _put(self, destinations: list[str]) -> None:
        """Write the row and its destinations."""
        if self._state.adding:
            self.full_clean()
            self.save(force_insert=True)
        self.destinations.all().delete()
        rows = [
            Destination(forwarding=self, address=to, position=position)
            for position, to in enumerate(destinations)
        ]
        for row in rows:
            row.clean_fields(exclude=["forwarding", "lowered"])
        Destination.objects.bulk_create(rows)
        self._prefetched_objects_cache: dict[str, Any] = {}


class Destination(LeadsTo):
    """One address that a forwarding address leads to."""

    forwarding = models.ForeignKey(ForwardingAddress, models.CASCADE, related_name="destinations")
    position = models.PositiveSmallIntegerField()

    class Meta:
        verbose_name = gettext_lazy("destination")
        verbose_name_plural = gettext_lazy("destinations")
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(name="destination_once", fields=["forwarding", "lowered"]),
            models.CheckConstraint(
                name="destination_form",
                condition=Q(address__regex=grammar.DESTINATION.pattern),
                violation_error_message=gettext_lazy("This is not an address."),
            ),
        ]
        indexes = [models.Index(name="destination_address", fields=["lowered"])]


class DetachedDestination(models.Model):
    """What a deleted account's forwards were, so that bringing it back brings them back."""

    mailbox_id = models.UUIDField(db_index=True)
    domain = models.ForeignKey(Domain, models.CASCADE)
    local_part = models.CharField(max_length=64, blank=True)
    detached_at = models.DateTimeField(default=now)

    class Meta:
        verbose_name = gettext_lazy("forward of a deleted account")
        verbose_name_plural = gettext_lazy("forwards of deleted accounts")
        constraints = [
            models.UniqueConstraint(
                name="detached_once", fields=["mailbox_id", "domain", "local_part"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.local_part or '*'}@{self.domain.name}"


def attach_again(
    mailbox_id: uuid.UUID, account: Account, *, by: Any = None, group: uuid.UUID | None = None
) -> list[ForwardingAddress]:
    """Lead the addresses that named a deleted account to it again; return those that cannot be.

    The account may have come back under another name. An address that meanwhile
    leads elsewhere gets it as one more destination, unless it is full by now.
    """
    left_out = []
    for past in DetachedDestination.objects.filter(mailbox_id=mailbox_id).select_related("domain"):
        existing = ForwardingAddress.objects.filter(
            domain=past.domain, local_part=past.local_part
        ).first()
        row = existing or ForwardingAddress(domain=past.domain, local_part=past.local_part)
        leads_to = row.leads_to() if existing and not existing.is_leaving() else []
        if account.address in leads_to:
            continue
        try:
            with transaction.atomic():
                row.lead([*leads_to, account.address], by=by, group=group)
        except ValidationError:
            left_out.append(row)
    return left_out


def detach(
    account: Account, customer_id: int, *, by: Any = None, group: uuid.UUID | None = None
) -> None:
    """Take a leaving account out of its owner's forwards, remembering where it stood."""
    # What an earlier deletion that was taken back left behind no longer counts, nor does what
    # can no longer be brought back.
    forgotten = now() - 2 * timedelta(days=settings.TRASH_DAYS)
    DetachedDestination.objects.filter(
        Q(mailbox_id=account.pk) | Q(detached_at__lt=forgotten)
    ).delete()
    naming = ForwardingAddress.objects.naming(account.address)
    for row in naming.filter(domain__customer=customer_id).select_related("domain__server"):
        if not row.is_leaving():
            DetachedDestination.objects.create(
                mailbox_id=account.pk, domain=row.domain, local_part=row.local_part
            )
            row.drop(account.address, by=by, group=group)
