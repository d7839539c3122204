"""The accounts of a domain as the User Manager lists them: counted, and read a page at a time."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts import passwords
from accounts.forms import ListForm
from accounts.models import Account, Domain
from propagation.prepared import Prepared, all_rows

ORDERS = {"name": "name", "-name": "-name", "created": "created_at", "-created": "-created_at"}


class Listed(NamedTuple):
    """An account as far as the list shows it: without a hash, and quicker than a model."""

    pk: uuid.UUID
    name: str
    fixed: bool
    no_password: bool


class Accounts:
    """The accounts of a domain that the list's form asks for, as Paginator takes them."""

    def __init__(self, domain: Domain, asked: ListForm) -> None:
        """Take the search and the order."""
        self._order = ORDERS[asked.order()]
        self._values = {"domain": domain.pk, "text": asked.text().partition("@")[0]}
        self._searched = bool(asked.text())

    def __len__(self) -> int:
        """Count them all."""
        [count] = _counted(self._searched, **self._values)
        return count

    def __getitem__(self, part: slice) -> list[Listed]:
        """Read a part of them."""
        rows = _listed(self._searched, self._order, part=part, **self._values)
        return list(map(Listed._make, rows))


def _found(searched: bool, domain: int, text: str) -> QuerySet[Account]:
    accounts = Account.objects.filter(domain=domain)
    return accounts.filter(name__contains=text) if searched else accounts


@Prepared
def _counted(searched: bool, domain: int, text: str) -> QuerySet[Account, int]:
    return _found(searched, domain, text).order_by().values_list(all_rows(), flat=True)


@Prepared
def _listed(searched: bool, order: str, domain: int, text: str) -> QuerySet[Account, Any]:
    pinned = Exists(Domain.objects.filter(fixed_account=OuterRef("pk")))
    # Asked of the database, so that no hash is loaded for a page.
    no_password = Q(password_hash__startswith=passwords.NOBODYS)
    accounts = _found(searched, domain, text).order_by(order, "pk")
    columns = accounts.annotate(pinned=pinned, no_password=no_password)
    return columns.values_list("pk", "name", "pinned", "no_password")
