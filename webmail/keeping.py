"""Settings of removed webmails are deleted after WEBMAIL_KEPT_DAYS."""

from datetime import timedelta

from django.conf import settings
from django.utils.timezone import now

from mailhost.host import Busy
from propagation.models import MailServer


def forget_settings(server: MailServer) -> int:
    """Delete on this server what was kept long enough; return of how many webmails.

    A busy server is left for later. Raises NotHere on a machine without this server.
    """
    before = now() - timedelta(days=settings.WEBMAIL_KEPT_DAYS)
    try:
        with server.host() as host, host.lock():
            return len(host.prune_webmail(before))
    except Busy:
        return 0
