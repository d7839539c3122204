"""Delete a forwarding address."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.terminal import refusal, the_domain
from forwarding.models import ForwardingAddress


class Command(BaseCommand):
    """`manage.py delete_forward ADDRESS`."""

    help = "No longer forward an address."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address."""
        parser.add_argument("address")

    def handle(self, *, address: str, **options: Any) -> None:
        """Withdraw it, or say why not."""
        local_part, _at, domain = address.partition("@")
        row = ForwardingAddress.objects.filter(
            domain=the_domain(domain), local_part=local_part
        ).first()
        if row is None:
            raise CommandError(f"{address} is not forwarded.")
        try:
            row.withdraw()
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{address} will no longer be forwarded")
