"""Delete a mailing list."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.terminal import refusal, the_domain
from forwarding.models import MailingList


class Command(BaseCommand):
    """`manage.py delete_list ADDRESS`."""

    help = "Delete a mailing list with its members."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address."""
        parser.add_argument("address")

    def handle(self, *, address: str, **options: Any) -> None:
        """Withdraw it, or say why not."""
        local_part, _at, domain = address.partition("@")
        lists = MailingList.objects.select_related("domain__server")
        row = lists.filter(domain=the_domain(domain), local_part=local_part).first()
        if row is None:
            raise CommandError(f"There is no mailing list {address}.")
        try:
            row.withdraw()
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{address} will be deleted once the change is applied")
