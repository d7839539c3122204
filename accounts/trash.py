"""Deleted mailboxes leave the trash after TRASH_DAYS: on the server first, then in the panel."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from accounts.models import Account, DeletedAccount
from mailhost.host import Busy, Host
from propagation.models import MailServer, one_at_a_time


def purge_expired(server: MailServer) -> int:
    """Remove for good what lay in this server's trash long enough; return how many.

    The server's own trash decides, so that nothing stays for ever of which the panel
    knows nothing. What is on its way back is spared. Safe to repeat: the mail goes
    first, the panel's row after it. A busy server is left for later. Raises NotHere on
    a machine without this server.
    """
    try:
        with server.host() as host, host.lock():
            expired = _take(server, host)
            host.purge([mailbox_id.hex for mailbox_id in expired])
    except Busy:
        return 0
    DeletedAccount.objects.filter(server=server, removed_at__isnull=False).delete()
    return len(expired)


def _take(server: MailServer, host: Host) -> list[UUID]:
    """Return what is to go; from now on none of it can be brought back."""
    limit = now() - timedelta(days=settings.TRASH_DAYS)
    old = [UUID(hex=lost.mailbox_id) for lost in host.trash() if lost.deleted_at < limit]
    with transaction.atomic():
        one_at_a_time()
        back = set(Account.objects.filter(pk__in=old).values_list("pk", flat=True))
        going = [mailbox_id for mailbox_id in old if mailbox_id not in back]
        forgotten = DeletedAccount.objects.in_trash().filter(server=server, deleted_at__lt=limit)
        forgotten.update(removed_at=now())
        DeletedAccount.objects.filter(pk__in=going).update(removed_at=now())
    return going
