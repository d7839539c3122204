"""Remove for good what lies in the trash long enough: the hourly task by cron."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.trash import purge_expired
from propagation.models import MailServer, NotHere


class Command(BaseCommand):
    """`manage.py purge_trash`."""

    help = "Remove deleted mailboxes whose time in the trash (TRASH_DAYS) is over."

    def handle(self, **options: Any) -> None:
        """Go through the servers of this machine."""
        for server in MailServer.objects.all():
            try:
                self.stdout.write(f"{server}: {purge_expired(server)} removed")
            except NotHere:
                continue
