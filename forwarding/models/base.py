"""What forwarding addresses and mailing lists have in common: an address, and a record of it.

A row lives until its server has confirmed that the address is gone. Edits are made one after
the other for all customers (a lock on the mail servers' rows), since two harmless edits at the
same moment could close a circle, or take one name, together.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils.functional import Promise
from django.utils.timezone import now
from django.utils.translation import gettext_lazy

from accounts.models import Account, Domain, accounts_by_address
from accounts.names import readable_domain
from forwarding import routes
from mailhost.records import Record
from propagation.models import Change, one_at_a_time


class AtAnAddress(models.Model):
    """Something that takes the mail for `local part @ domain`."""

    #: What a record's key begins with.
    kind: ClassVar[str]
    #: What is said where another request has removed the row meanwhile.
    gone: ClassVar[str | Promise]

    if TYPE_CHECKING:
        # Each kind has its own name for the way back.
        domain: models.ForeignKey[Domain, Domain]
        local_part: models.CharField[str, str]
    created_at = models.DateTimeField(gettext_lazy("created"), default=now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.local_part or '*'}@{readable_domain(self.domain.name)}"

    @property
    def address(self) -> str:
        """The address as stored; "@domain" for the catch-all."""
        return f"{self.local_part}@{self.domain.name}"

    @property
    def key(self) -> str:
        """The key of this address's record."""
        return f"{self.kind}:{self.address}"

    def record(self) -> Record | None:
        """Return what the mail server holds of this address; None before it is anything."""
        raise NotImplementedError

    def is_leaving(self) -> bool:
        """Whether the address is being deleted."""
        return self.key in Change.objects.leaving(self.domain.server, [self.key])

    def withdraw(self, *, by: Any = None, group: uuid.UUID | None = None) -> None:
        """Ask the server to forget the address; the row goes when the server has done so.

        One that the server has never seen goes at once; one that is going already goes at
        its own time. Raises ValidationError where the mail would then go in a circle through
        the domain's catch-all.
        """
        with transaction.atomic():
            one_at_a_time()
            self._refuse_if_gone()
            if self.is_leaving():
                return
            routes.check(self.address, (), customer_id=self.domain.customer_id)
            change = Change.objects.propose(
                self.domain.server, before=self.record(), after=None, by=by, group=group
            )
            if change is None:
                self.delete()

    def _refuse_if_gone(self) -> None:
        """Raise ValidationError where another request has removed the row meanwhile."""
        if self.pk and not type(self)._default_manager.filter(pk=self.pk).exists():
            raise ValidationError(str(self.gone), code="gone")

    def _propose(
        self,
        before: Record | None,
        *,
        leads_to: Iterable[str],
        by: Any,
        group: uuid.UUID | None = None,
        delay: timedelta | None = None,
    ) -> Change | None:
        """Tell the server what the address is from now on, and where it leads."""
        return Change.objects.propose(
            self.domain.server,
            before=before,
            after=self.record(),
            by=by,
            group=group,
            needs=self._needs(leads_to),
            delay=delay,
        )

    def _needs(self, leads_to: Iterable[str]) -> list[tuple[int, str]]:
        """Name the records that must be live first: the domain and what this leads to.

        Only the same customer's: nobody's edit waits for, or falls with, another's.
        """
        customer = self.domain.customer_id
        own = dict(Domain.objects.filter(customer=customer).values_list("name", "server_id"))
        near = [to for to in leads_to if to.rpartition("@")[2] in own]
        return self.needs(near, own=own, boxes=accounts_by_address(near))

    def needs(
        self, leads_to: Iterable[str], *, own: Mapping[str, int], boxes: Mapping[str, Account]
    ) -> list[tuple[int, str]]:
        """Name them where it is known which domains the customer has, each with its server's id,
        and which accounts there are at these addresses."""
        near = [to for to in leads_to if to.rpartition("@")[2] in own]
        needs = [(self.domain.server_id, f"domain:{self.domain.name}")]
        needs += [(boxes[to].server_id, boxes[to].key) for to in near if to in boxes]
        needs += [
            (own[to.rpartition("@")[2]], f"{kind}:{to}")
            for to in near
            if to != self.address
            for kind in ("address", "list")
        ]
        return needs


class LeadsTo(models.Model):
    """One address that mail is sent on to, and its form in which it is looked for."""

    address = models.CharField(gettext_lazy("destination"), max_length=254)
    lowered = models.GeneratedField(
        expression=Lower("address"),
        output_field=models.CharField(max_length=254),
        db_persist=True,
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.address


def as_hosted(addresses: list[str]) -> list[str]:
    """Lower the addresses of hosted domains; elsewhere the case of a letter may matter."""
    domains = {to.rpartition("@")[2] for to in addresses}
    hosted = set(Domain.objects.filter(name__in=domains).values_list("name", flat=True))
    return [to.lower() if to.rpartition("@")[2] in hosted else to for to in addresses]
