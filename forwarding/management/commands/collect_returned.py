"""Take over whose copies of mailing lists came back: Celery's work by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from forwarding.returned import collect
from mailhost.errors import HostError
from propagation.models import NotHere
from propagation.servers import chosen_servers


class Command(BaseCommand):
    """`manage.py collect_returned [SERVER ...]`."""

    help = "Take over whose copies of mailing lists came back on the mail servers of this machine."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")

    def handle(self, *, servers: list[str], **options: Any) -> None:
        """Print a line per server; exit 1 when one cannot be read."""
        for server in chosen_servers(servers):
            try:
                self.stdout.write(f"{server}: {collect(server)} news")
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
            except HostError as error:
                raise CommandError(f"{server}: {error}") from error
