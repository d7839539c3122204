"""Which names of a domain are free for what: a mailing list shares its two with nothing else.

A mailbox and a forwarding address may have one name, the latter then keeping a copy in the
former. What is being deleted has its name until its server has confirmed that it is gone.
Called under the lock of every edit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import Domain
from accounts.names import readable_address
from forwarding import routes
from mailhost.records import list_addresses
from propagation.prepared import Prepared


def list_with(domain: Domain, local_part: str) -> Any:
    """Return the list to which this name belongs as its own or its bounces'; None if none."""
    wanted = [local_part, local_part.removesuffix(routes.BOUNCES)]
    address = f"{local_part}@{domain.name}"
    for row in _lists(domain=domain.pk, names=wanted):
        if address in list_addresses(row.address):
            return row
    return None


def refuse_lists_name(domain: Domain, local_part: str) -> None:
    """Raise ValidationError where a list has this name, so that nothing else can be there."""
    row = list_with(domain, local_part)
    if row is None:
        return
    values = {"address": _at(domain, local_part), "list": row}
    if row.is_leaving():
        words = _("The mailing list %(list)s is still being deleted. Try again once it is gone.")
    elif row.local_part == local_part:
        words = _("%(address)s is a mailing list. Choose another name.")
    else:
        words = _(
            "At %(address)s the mailing list %(list)s learns of mail that could not be delivered. "
            "Choose another name."
        )
    raise ValidationError(words % values, code="list")


def lists_names_among(domain: Domain, names: Collection[str]) -> set[str]:
    """Return which of these names a list may have; of the others none has one."""
    lists = apps.get_model("forwarding", "MailingList")._default_manager.filter(domain=domain)
    taken = set(lists.values_list("local_part", flat=True))
    return {name for name in names if {name, name.removesuffix(routes.BOUNCES)} & taken}


class ListsNames:
    """The names of lists, as accounts.names_elsewhere asks about them."""

    def refuse(self, domain: Domain, name: str) -> None:
        """Raise ValidationError where a list has this name."""
        refuse_lists_name(domain, name)

    def among(self, domain: Domain, names: Collection[str]) -> set[str]:
        """Return which of these names a list may have."""
        return lists_names_among(domain, names)


lists_names = ListsNames()


def refuse_for_list(domain: Domain, local_part: str) -> None:
    """Raise ValidationError unless a new list may have this name, and its bounces theirs."""
    for address in list_addresses(f"{local_part}@{domain.name}"):
        name = address.rpartition("@")[0]
        refuse_lists_name(domain, name)
        if name in routes.ALWAYS or name == domain.label:
            raise ValidationError(
                _("%(address)s is fixed for the administration of the service.")
                % {"address": _at(domain, name)},
                code="fixed",
            )
        if domain.accounts.filter(name=name).exists():
            words = _(
                "%(address)s is a mailbox, and a mailing list shares its address with nothing. "
                "Choose another name for the list."
            )
        elif _rows("ForwardingAddress", domain, [name]).exists():
            words = _(
                "%(address)s is a forwarding address, and a mailing list shares its address with "
                "nothing. Choose another name for the list, or delete the forwarding address and "
                "wait until it is gone."
            )
        else:
            continue
        raise ValidationError(words % {"address": _at(domain, name)}, code="taken")


@Prepared
def _lists(domain: int, names: list[str]) -> Any:
    lists = apps.get_model("forwarding", "MailingList")._default_manager
    found = lists.filter(domain=domain, local_part__in=names)
    return found.select_related("domain__server")


def _at(domain: Domain, local_part: str) -> str:
    return readable_address(f"{local_part}@{domain.name}")


def _rows(model: str, domain: Domain, names: list[str]) -> Any:
    """Return what one of this app's models, which themselves use this module, has there."""
    rows = apps.get_model("forwarding", model)._default_manager
    return rows.filter(domain=domain, local_part__in=names)
