"""Remove what has stood in the trail of accesses long enough: the daily task by cron."""

from typing import Any

from django.core.management.base import BaseCommand

from remotemail.models import MailAccess


class Command(BaseCommand):
    """`manage.py prune_mail_accesses`."""

    help = "Remove accesses to mail from the trail that are older than MAIL_ACCESS_DAYS."

    def handle(self, **options: Any) -> None:
        """Remove them."""
        self.stdout.write(f"{MailAccess.objects.prune()} removed")
