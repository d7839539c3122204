"""Remove from the history what is older than HISTORY_DAYS: the daily task by cron."""

from typing import Any

from django.core.management.base import BaseCommand

from history.models import Entry


class Command(BaseCommand):
    """Remove it."""

    help = __doc__

    def handle(self, **options: Any) -> None:
        """Remove it, and say how much it was."""
        self.stdout.write(f"{Entry.objects.prune()} removed")
