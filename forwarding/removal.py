"""Deleting an account together with the forwards that lead to it, and bringing both back.

This rule needs accounts and forwards; it stands here because forwarding sees both.
"""

import uuid
from typing import Any

from django.db import transaction

from accounts.models import Account, DeletedAccount
from forwarding import routes
from forwarding.models import ForwardingAddress, attach_again, detach
from propagation.models import one_at_a_time


def delete_account(account: Account, *, by: Any = None) -> None:
    """Delete a POP account once the change is due; its owner's forwards no longer lead to it.

    All of it is one group of changes, taken back together. A forward that led nowhere
    else goes as well. Raises ValidationError for a fixed account.
    """
    group = uuid.uuid4()
    with transaction.atomic():
        one_at_a_time()
        account.delete_later(by=by, group=group)
        detach(account, account.domain.customer_id, by=by, group=group)
        _check_after_the_trash(account)


def _check_after_the_trash(account: Account) -> None:
    """Raise ValidationError if mail would go in a circle once the name is no longer held.

    For TRASH_DAYS mail for the name is refused; then the domain's catch-all takes it.
    """
    domain = account.domain
    catch_all = ForwardingAddress.objects.filter(domain=domain, local_part="").first()
    if catch_all and not catch_all.is_leaving():
        routes.check(account.address, [catch_all.address], customer_id=domain.customer_id)


def forwards_to(account: Account) -> list[tuple[ForwardingAddress, list[str]]]:
    """Return the owner's forwards to `account`, and where each leads without it ([]: it goes)."""
    rows = (
        ForwardingAddress.objects.naming(account.address)
        .filter(domain__customer=account.domain.customer_id)
        .select_related("domain")
        .prefetch_related("destinations")
    )
    return [(row, row.without(account.address)) for row in rows if not row.is_leaving()]


def onward(account: Account) -> list[str]:
    """Return where mail for the account's own address is forwarded once the account is gone."""
    own = account.domain.forwarding_addresses.filter(local_part=account.name).first()
    return own.without(account.address) if own and not own.is_leaving() else []


def restore_account(
    deleted: DeletedAccount, *, name: str = "", by: Any = None
) -> tuple[Account, list[ForwardingAddress]]:
    """Bring a deleted account back: its mail, its password and the forwards that named it.

    Everything is a pending change. Returns the account, and the forwards that could not
    be led to it again because they are full by now. Raises ValidationError, with the code
    NAME_TAKEN where somebody has the name by now: ask for another `name`.
    """
    group = uuid.uuid4()
    mailbox_id = deleted.pk
    with transaction.atomic():
        one_at_a_time()
        account = deleted.restore(name=name, by=by, group=group)
        left_out = attach_again(mailbox_id, account, by=by, group=group)
    return account, left_out
