"""Compare what the panel wants with what the mail servers have; mend them with --repair."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailhost.host import Busy
from propagation import reconcile
from propagation.models import MailServer, NotHere
from propagation.servers import chosen_servers


class Command(BaseCommand):
    """`manage.py reconcile [SERVER ...] [--repair]`."""

    help = "Compare the panel with each server's database, maps and directories."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names, and whether to mend."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")
        parser.add_argument("--repair", action="store_true", help="mend what differs")

    def handle(self, *, servers: list[str], repair: bool, **options: Any) -> None:
        """Print a line per difference; exit 1 when there are any and nothing was mended."""
        count = left = 0
        for server in chosen_servers(servers):
            try:
                found = reconcile.repair(server) if repair else reconcile.compare(server)
            except NotHere as error:
                if servers:
                    raise CommandError(str(error)) from error
                continue
            except Busy as error:
                raise CommandError(f"{server}: {error}; try again.") from error
            for difference in (*found[0], *found[1]):
                self.stdout.write(f"{server}: {difference}")
                count += 1
            left += len(_left(server)) if repair else 0
        words = "mended" if repair else "found"
        self.stdout.write(f"{count} difference(s) {words}.")
        if left:
            raise CommandError(f"{left} remain: see Changes in admin for what the server answered.")
        if count and not repair:
            raise CommandError("Mend them with --repair.")


def _left(server: MailServer) -> list[Any]:
    """Return what still differs after a repair."""
    mismatches, differences = reconcile.compare(server)
    return [*mismatches, *differences]
