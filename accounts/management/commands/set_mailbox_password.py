"""Give a POP account another password."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import read_password, refusal, the_account


class Command(BaseCommand):
    """`manage.py set_mailbox_password NAME@DOMAIN`, the password from standard input."""

    help = "Give a POP account another password, read from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address."""
        parser.add_argument("address")

    def handle(self, *, address: str, **options: Any) -> None:
        """Set it, or say why not."""
        try:
            the_account(address).set_password(read_password())
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{address}: the new password counts once the change is applied")
