"""Apply the changes that are due, as the worker of each server would: Celery's work by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from propagation.apply import apply_due
from propagation.models import Change, NotHere
from propagation.servers import chosen_servers


class Command(BaseCommand):
    """`manage.py apply_changes [SERVER ...] [--now]`."""

    help = "Apply the changes that are due on the mail servers of this machine."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names, and --now for changes that are not due yet."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")
        parser.add_argument("--now", action="store_true", help="do not wait for the due time")

    def handle(self, *, servers: list[str], now: bool, **options: Any) -> None:
        """Apply, server by server; exit 1 when a change failed."""
        failed = 0
        for server in chosen_servers(servers):
            try:
                server.host()  # What only another machine can apply goes on waiting.
                if now:
                    Change.objects.open().filter(server=server).hurry()
                report = apply_due(server)
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
                continue
            failed += report.failed
            words = "another run is at work" if report.busy else f"{report.applied} applied"
            self.stdout.write(f"{server}: {words}, {report.failed} failed")
        if failed:
            raise CommandError(f"{failed} change(s) failed and will be tried again.")
