"""Make a mailing list, as Email Forwarding does."""

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.terminal import refusal, the_domain
from forwarding.models import MailingList, Posters
from forwarding.pasted import parse


class Command(BaseCommand):
    """`manage.py add_list ADDRESS --title TITLE [--owner ADDRESS] [--posters WHO] < members`."""

    help = "Make a mailing list; its members are read from standard input, as one would paste them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and the settings."""
        parser.add_argument("address")
        parser.add_argument("--title", required=True, help="the list's name for people")
        parser.add_argument("--owner", default="", help="default: the domain's fixed account")
        parser.add_argument("--posters", choices=Posters.values, default=Posters.MEMBERS)

    def handle(self, *, address: str, title: str, owner: str, posters: str, **options: Any) -> None:
        """Make it, or say why not."""
        local_part, _at, name = address.partition("@")
        domain = the_domain(name)
        pasted = parse("" if sys.stdin.isatty() else sys.stdin.read())
        if pasted.wrong:
            lines = [f"line {one.line}: {one.reason}" for one in pasted.wrong]
            raise CommandError("\n".join(lines))
        try:
            row = MailingList.objects.open(
                domain=domain,
                local_part=local_part,
                title=title,
                owner_address=owner or domain.fixed_account.address,
                posters=posters,
                members=pasted.addresses,
            )
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{row} will send to {len(pasted.addresses)} members")
