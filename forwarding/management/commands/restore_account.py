"""Bring a deleted account back from the trash."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import DeletedAccount
from accounts.terminal import refusal
from forwarding import removal


class Command(BaseCommand):
    """`manage.py restore_account NAME@DOMAIN [--as NAME]`."""

    help = "Bring a deleted account back: its mail, its password and the forwards that named it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address, and another name where the old one is taken by now."""
        parser.add_argument("address")
        parser.add_argument("--as", dest="name", default="", help="another name for the account")

    def handle(self, *, address: str, name: str, **options: Any) -> None:
        """Bring back the one that was deleted last under that address."""
        old_name, _at, domain = address.partition("@")
        found = DeletedAccount.objects.in_trash().filter(name=old_name, domain__name=domain)
        deleted = found.select_related("domain__plan", "server").first()
        if deleted is None:
            raise CommandError(f"{address} is not in the trash.")
        try:
            account, left_out = removal.restore_account(deleted, name=name)
        except ValidationError as error:
            raise refusal(error) from error
        for forwarding in left_out:
            self.stdout.write(f"{forwarding} is full and does not lead to it again")
        self.stdout.write(f"{account} will be back once the change is applied")
