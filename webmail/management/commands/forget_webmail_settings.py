"""Delete what removed webmails left: the daily task by cron."""

from typing import Any

from django.core.management.base import BaseCommand

from propagation.models import MailServer, NotHere
from webmail.keeping import forget_settings


class Command(BaseCommand):
    """`manage.py forget_webmail_settings`."""

    help = "Delete settings of webmails that were removed more than WEBMAIL_KEPT_DAYS ago."

    def handle(self, **options: Any) -> None:
        """Go through the servers of this machine."""
        for server in MailServer.objects.all():
            try:
                self.stdout.write(f"{server}: {forget_settings(server)} deleted")
            except NotHere:
                continue
