"""Add a POP account, as the User Manager does."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.models import Account
from accounts.terminal import read_password, refusal, the_domain


class Command(BaseCommand):
    """`manage.py add_account NAME@DOMAIN`, the password from standard input."""

    help = "Add a POP account; the password is read from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address."""
        parser.add_argument("address")

    def handle(self, *, address: str, **options: Any) -> None:
        """Add it, or say why not."""
        name, _at, domain = address.partition("@")
        try:
            account = Account.objects.open(
                domain=the_domain(domain), name=name, password=read_password()
            )
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{account} will work once the change is applied")
