"""Do what waits with archives: Celery's work each minute by cron."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailhost.errors import HostError
from propagation.models import NotHere
from propagation.servers import chosen_servers
from quota.archiving import jobs, weekly


class Command(BaseCommand):
    """`manage.py look_after_archives [SERVER ...]`."""

    help = (
        "Do what customers want done with archives, make up a Wednesday's run that was missed, and "
        "try again what failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")

    def handle(self, *, servers: list[str], **options: Any) -> None:
        """Print a line per server; exit 1 when one cannot be looked after."""
        problems = []
        for server in chosen_servers(servers):
            try:
                done = jobs.do_waiting(server)
                weekly.look_after(server)
                self.stdout.write(f"{server}: {done} jobs done")
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
            except HostError as error:
                problems.append(f"{server}: {error}")
        if problems:
            raise CommandError("\n".join(problems))
