"""What the commands of a terminal share: finding objects, and taking a password safely."""

import getpass
import sys
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Account, Domain


def read_password(prompt: str = "Password: ") -> str:
    """Return a password from standard input: asked for without echo, or one line of a pipe.

    Never from the command line, which every user of the machine can read.
    """
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\r\n")


def the_domain(name: str) -> Domain:
    """Return the domain of that name, or stop the command in words."""
    found = Domain.objects.select_related("plan", "server", "customer").filter(name=name).first()
    if found is None:
        raise CommandError(f"No such domain: {name}")
    return found


def the_account(address: str) -> Account:
    """Return the account with that address, or stop the command in words."""
    name, _at, domain = address.partition("@")
    found = (
        Account.objects.select_related("domain__plan", "server")
        .filter(name=name, domain__name=domain)
        .first()
    )
    if found is None:
        raise CommandError(f"No such account: {address}")
    return found


def refusal(error: ValidationError) -> CommandError:
    """Return the model's reasons as the command's error."""
    return CommandError(" ".join(error.messages))


class SwitchCommand(BaseCommand):
    """What switches one thing that an account has on or off: `NAME@DOMAIN on|off`."""

    #: Which, by its name in Account.SWITCHES.
    name: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and the position of the switch."""
        parser.add_argument("address")
        parser.add_argument("switch", choices=["on", "off"])

    def handle(self, *, address: str, switch: str, **options: Any) -> None:
        """Switch it, or say why not."""
        try:
            the_account(address).switch(self.name, switch == "on")
        except ValidationError as error:
            raise refusal(error) from error
        what = Account.SWITCHES[self.name]
        self.stdout.write(f"{address}: {what} is {switch} once the change is applied")
