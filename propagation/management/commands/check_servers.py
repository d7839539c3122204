"""Ask the mail servers of this machine whether they work, and note the answer for the pages."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from propagation.health import report_all


class Command(BaseCommand):
    """`manage.py check_servers`."""

    help = "Ask the mail servers of this machine whether they work."

    def handle(self, **options: Any) -> None:
        """Print a line per server; exit 1 when one does not work."""
        found = report_all()
        for name, trouble in found.items():
            self.stdout.write(f"{name}: {trouble or 'works'}")
        if not found:
            self.stdout.write("No mail server runs on this machine (MAILHOST_ROOT).")
        if any(found.values()):
            raise CommandError("A mail server does not work.")
