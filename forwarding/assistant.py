"""The manual's way round a taken name, in one step.

Where `info` is taken on the server, a mailbox `myinfo` and the forwarding address
`info@example.com` to it give the customer the address that was wanted (manual,
section 3). Both changes belong together, and the outbox keeps their order.
"""

import uuid
from typing import Any

from django.db import transaction

from accounts.models import Account, Domain
from forwarding import taken
from forwarding.models import ForwardingAddress
from mailhost.records import list_addresses
from propagation.models import one_at_a_time


def may_offer(domain: Domain, wanted: str) -> bool:
    """Whether `wanted@domain` is still free to be led to a mailbox of another name."""
    if wanted == domain.label or domain.accounts.filter(name=wanted).exists():
        return False
    if taken.list_with(domain, wanted):
        return False
    return not ForwardingAddress.objects.filter(domain=domain, local_part=wanted).exists()


def leads_to(domain: Domain, wanted: str) -> list[str]:
    """Return where `wanted@domain` is forwarded already."""
    row = ForwardingAddress.objects.filter(domain=domain, local_part=wanted).first()
    return row.leads_to() if row else []


def propose_name(domain: Domain, wanted: str) -> str:
    """Return a free mailbox name for `wanted` whose own address is no forward's and no list's."""
    part = wanted[:28]
    forwards = domain.forwarding_addresses.filter(local_part__contains=part)
    lists = domain.mailing_lists.filter(local_part__contains=part)
    used = {*forwards.values_list("local_part", flat=True)}
    for row in lists.select_related("domain"):
        used |= {address.partition("@")[0] for address in list_addresses(row.address)}
    return Account.objects.free_name(domain.server_id, wanted, avoid=used)


def open_under(
    *, domain: Domain, wanted: str, name: str, password: str, by: Any = None
) -> tuple[Account, ForwardingAddress]:
    """Open the mailbox `name` and lead `wanted@domain` to it.

    Raises ValidationError, in words for the customer; neither is created then.
    """
    group = uuid.uuid4()
    with transaction.atomic():
        one_at_a_time()
        account = Account.objects.open(
            domain=domain, name=name, password=password, by=by, group=group
        )
        address = ForwardingAddress.objects.open(
            domain=domain, local_part=wanted, destinations=[account.address], by=by, group=group
        )
    return account, address
