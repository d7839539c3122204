"""List the changes that are on their way."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import localtime

from propagation.models import Change


class Command(BaseCommand):
    """`manage.py show_changes`."""

    help = "List the changes that are on their way to the mail servers."

    def handle(self, **options: Any) -> None:
        """Print a line per open change, first due first."""
        for change in Change.objects.open().select_related("server").order_by("due_at", "pk"):
            due = localtime(change.due_at).strftime("%Y-%m-%d %H:%M:%S")
            what = "delete" if change.removes else "add" if change.creates else "change"
            line = f"{change.pk} {due} {change.server} {change.state} {what} {change.key}"
            self.stdout.write(f"{line} {change.trouble}".rstrip())
