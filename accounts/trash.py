"""Deleted mailboxes leave the trash after TRASH_DAYS, on the server first."""

from accounts.models import DeletedAccount, expired_deletions
from mailhost.host import Busy
from propagation.models import MailServer


def purge_expired(server: MailServer) -> int:
    """Remove for good what lay in this server's trash long enough; return how many.

    Safe to repeat: the mail goes first, the panel's row after it, so a crash between
    the two leaves a row that the next run removes. A busy server is left for later.
    Raises NotHere on a machine without this server.
    """
    expired = expired_deletions(server)
    if not expired:
        return 0
    try:
        with server.host() as host, host.lock():
            # Asked again under the lock: what was restored meanwhile is no longer ours.
            expired = expired_deletions(server)
            host.purge([pk.hex for pk in expired])
    except Busy:
        return 0
    DeletedAccount.objects.filter(pk__in=expired).delete()
    return len(expired)
