"""Have the mail servers count what mailboxes use, now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account, accounts_by_address
from mailhost.errors import HostError
from propagation.models import MailServer, NotHere
from propagation.servers import chosen_servers
from quota import usage


class Command(BaseCommand):
    """`manage.py recount_usage [--account ADDRESS ...] [SERVER ...]`."""

    help = (
        "Ask Dovecot what mailboxes use, and show it in the panel. The mail servers do so by "
        "themselves, for each mailbox that changes and for all once a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take server names, or addresses of accounts."""
        parser.add_argument("servers", nargs="*", help="host names (default: all of this machine)")
        parser.add_argument(
            "--account", action="append", default=[], help="only this one, such as info@example.com"
        )

    def handle(self, *, servers: list[str], account: list[str], **options: Any) -> None:
        """Print a line per server; exit 1 when one cannot be asked."""
        accounts = _accounts(account)
        for server in chosen_servers(servers):
            own = [one for one in accounts if one.server_id == server.pk]
            if not account or own:
                self._recount(server, own if account else None, bool(servers or account))

    def _recount(self, server: MailServer, own: list[Account] | None, meant: bool) -> None:
        try:
            self.stdout.write(f"{server}: {usage.recount(server, own)} mailboxes counted")
        except NotHere as error:
            if meant:
                raise CommandError(str(error)) from error
        except HostError as error:
            raise CommandError(f"{server}: {error}") from error


def _accounts(addresses: list[str]) -> list[Account]:
    found = accounts_by_address(addresses)
    if unknown := [address for address in addresses if address not in found]:
        raise CommandError(f"No such account: {', '.join(unknown)}")
    return list(found.values())
