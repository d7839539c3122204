"""Customers, their plans, domains and POP accounts; one module per noun."""

from accounts.models.accounts import (
    NAME_TAKEN,
    NAME_TAKEN_WORDS,
    Account,
    AccountQuerySet,
    accounts_by_address,
    mailbox_key,
)
from accounts.models.customers import MEGABYTE, Customer, Plan, User
from accounts.models.deleted import DeletedAccount
from accounts.models.domains import Domain, DomainQuerySet
from accounts.models.limits import OwnLimits, limits_in

__all__ = [
    "MEGABYTE",
    "NAME_TAKEN",
    "NAME_TAKEN_WORDS",
    "Account",
    "AccountQuerySet",
    "Customer",
    "DeletedAccount",
    "Domain",
    "DomainQuerySet",
    "OwnLimits",
    "Plan",
    "User",
    "accounts_by_address",
    "limits_in",
    "mailbox_key",
]
