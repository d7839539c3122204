"""Take over what became of mail on the mail servers: Celery's work by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailhost.errors import HostError
from propagation.models import NotHere
from propagation.servers import chosen_servers
from tracing.collect import collect


class Command(BaseCommand):
    """`manage.py collect_events [SERVER ...]`."""

    help = "Take over what became of mail, as the mail servers of this machine read their logs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")

    def handle(self, *, servers: list[str], **options: Any) -> None:
        """Print a line per server; exit 1 when one cannot be read."""
        for server in chosen_servers(servers):
            try:
                self.stdout.write(f"{server}: {collect(server)} events")
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
            except HostError as error:
                raise CommandError(f"{server}: {error}") from error
