"""Whose an address is that somebody typed: only the login's own are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import normalize

from django.core.exceptions import ValidationError

from accounts.models import Domain
from accounts.names import clean_domain_name
from mailhost import grammar


@dataclass(frozen=True, slots=True)
class Asked:
    """An address of one of the customer's domains, as stored."""

    domain: Domain
    address: str


def asked_for(domain: Domain, typed: str) -> Asked | None:
    """Return the address that was meant; None for all that is not of the customer's domains.

    Without an @ it is a name of `domain`. Whether another's address exists is told nobody.
    """
    # A Japanese keyboard types letters in full width as well.
    text = normalize("NFKC", typed).strip().strip("<>").lower()
    local, at, after = text.rpartition("@")
    if not at:
        local, after = after, domain.name
    try:
        name = clean_domain_name(after)
    except ValidationError:
        return None
    if not grammar.LOCAL_PART.match(local):
        return None
    if name == domain.name:
        return Asked(domain, f"{local}@{name}")
    own = Domain.objects.filter(customer=domain.customer_id, name=name)
    found = own.select_related("customer", "plan", "server", "fixed_account__domain").first()
    return Asked(found, f"{local}@{name}") if found else None
