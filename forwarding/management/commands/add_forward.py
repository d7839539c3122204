"""Add a forwarding address, as Email Forwarding does."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import refusal, the_domain
from forwarding.models import ForwardingAddress


class Command(BaseCommand):
    """`manage.py add_forward ADDRESS DESTINATION [...]`."""

    help = "Add a forwarding address; @DOMAIN alone is the domain's catch-all."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and where it leads."""
        parser.add_argument("address")
        parser.add_argument("destinations", nargs="+")

    def handle(self, *, address: str, destinations: list[str], **options: Any) -> None:
        """Add it, or say why not."""
        local_part, _at, domain = address.partition("@")
        try:
            row = ForwardingAddress.objects.open(
                domain=the_domain(domain), local_part=local_part, destinations=destinations
            )
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{row} will lead to {', '.join(row.leads_to())}")
