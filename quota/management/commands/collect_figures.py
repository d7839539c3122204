"""Take over the mail servers' figures of sending: Celery's work by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailhost.policy.figures import FiguresError
from propagation.models import NotHere
from propagation.servers import chosen_servers
from quota.collect import collect


class Command(BaseCommand):
    """`manage.py collect_figures [SERVER ...]`."""

    help = "Take over what the mail servers of this machine know of sending and its limits."

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
            except FiguresError as error:
                raise CommandError(f"{server}: {error}") from error
