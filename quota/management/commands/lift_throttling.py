"""Let an account log in again at once that others have guessed at."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import accounts_by_address
from quota.models import Guessing


class Command(BaseCommand):
    """`manage.py lift_throttling ADDRESS`."""

    help = "Have the mail server forget the wrong passwords for an account, within a minute."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the account's address."""
        parser.add_argument("address", help="the account, such as info@example.com")

    def handle(self, *, address: str, **options: Any) -> None:
        """Ask the mail server, or say that there is nothing to forget."""
        account = accounts_by_address([address]).get(address)
        if account is None:
            raise CommandError(f"No such account: {address}")
        if not Guessing.objects.filter(account=account).lift():
            self.stdout.write(f"Nobody has guessed at {address} within the last hour.")
            return
        self.stdout.write(f"The wrong passwords for {address} will be forgotten within a minute.")
