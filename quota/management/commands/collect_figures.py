"""Take over the mail servers' figures of sending, mailboxes and archives: Celery's work by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailhost.errors import HostError
from propagation.models import MailServer, NotHere
from propagation.servers import chosen_servers
from quota import notices, usage
from quota.archiving import news as archives
from quota.collect import collect


class Command(BaseCommand):
    """`manage.py collect_figures [SERVER ...]`."""

    help = (
        "Take over what the mail servers of this machine know of sending, mailboxes and archives."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")

    def handle(self, *, servers: list[str], **options: Any) -> None:
        """Print a line per server; exit 1 when one cannot be read."""
        failures = []
        for server in chosen_servers(servers):
            try:
                failures += self._collect(server)
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
        if failures:
            raise CommandError("; ".join(failures))

    def _collect(self, server: MailServer) -> list[str]:
        """Take over all kinds of figures; return why one could not be, which keeps no other."""
        failures, news = [], 0
        for take_over in (collect, usage.collect, archives.collect):
            try:
                news += take_over(server)
            except HostError as error:
                failures.append(f"{server}: {error}")
        self.stdout.write(f"{server}: {news} news")
        if sent := notices.send_written(server):
            self.stdout.write(f"{server}: {sent} notices sent")
        return failures
