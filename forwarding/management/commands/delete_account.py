"""Delete a POP account with the forwards that lead nowhere else."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import refusal, the_account
from forwarding import removal


class Command(BaseCommand):
    """`manage.py delete_account NAME@DOMAIN`."""

    help = "Delete a POP account; its mail stays in the trash for TRASH_DAYS."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address."""
        parser.add_argument("address")

    def handle(self, *, address: str, **options: Any) -> None:
        """Delete it, or say why not."""
        try:
            removal.delete_account(the_account(address))
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{address} will be deleted once the change is applied")
