"""Switch reading mail by SSH on or off for a POP account."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import refusal, the_account


class Command(BaseCommand):
    """`manage.py set_ssh NAME@DOMAIN on|off`."""

    help = "Switch reading mail by SSH on or off for a POP account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and the position of the switch."""
        parser.add_argument("address")
        parser.add_argument("switch", choices=["on", "off"])

    def handle(self, *, address: str, switch: str, **options: Any) -> None:
        """Switch it, or say why not."""
        try:
            the_account(address).switch_ssh(switch == "on")
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{address}: SSH is {switch} once the change is applied")
