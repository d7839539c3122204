"""The accounts of a domain as the User Manager lists them: counted, and read a page at a time."""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from accounts import passwords
from accounts.forms import ListForm
from accounts.models import Account, Domain
from propagation.prepared import Prepared, all_rows

PAGE_SIZE = 50
ORDERS = {"name": "name", "-name": "-name", "created": "created_at", "-created": "-created_at"}


class Listed(NamedTuple):
    """An account as far as the list shows it: without a hash, and quicker than a model."""

    pk: uuid.UUID
    name: str
    fixed: bool
    no_password: bool
    ftp: bool = False
    ssh: bool = False


class Accounts:
    """The accounts of a domain that the list's form asks for, as Paginator takes them."""

    def __init__(self, domain: Domain, asked: ListForm) -> None:
        """Take the search and the order."""
        self._domain = domain.pk
        self._order = ORDERS[asked.order()]
        self._text = asked.text().partition("@")[0]
        self._searched = bool(asked.text())

    def __len__(self) -> int:
        """Count them all."""
        return self._first[0][-1] if self._first else 0

    def __getitem__(self, part: slice) -> list[Listed]:
        """Read a part of them."""
        first = part.start == 0 and part.stop <= PAGE_SIZE
        rows = self._first[part] if first else self._read(part)
        return [Listed(*columns) for *columns, _count in rows]

    @cached_property
    def _first(self) -> list[Any]:
        """The first page, which is asked for most, and which brings the count along."""
        return self._read(slice(0, PAGE_SIZE))

    def _read(self, part: slice) -> list[Any]:
        shape = self._searched, self._order
        return _listed(*shape, part=part, domain=self._domain, text=self._text)


def _found(searched: bool, domain: int, text: str) -> QuerySet[Account]:
    accounts = Account.objects.filter(domain=domain)
    return accounts.filter(name__contains=text) if searched else accounts


@Prepared
def _listed(searched: bool, order: str, domain: int, text: str) -> QuerySet[Account, Any]:
    pinned = Exists(Domain.objects.filter(fixed_account=OuterRef("pk")))
    # Asked of the database, so that no hash is loaded for a page.
    no_password = Q(password_hash__startswith=passwords.NOBODYS)
    found = _found(searched, domain, text)
    # Asked for in each line, and counted once.
    count = Subquery(found.order_by().values_list(all_rows()))
    accounts = found.annotate(pinned=pinned, no_password=no_password, count=count)
    columns = accounts.values_list("pk", "name", "pinned", "no_password", "ftp", "ssh", "count")
    return columns.order_by(order, "pk")
