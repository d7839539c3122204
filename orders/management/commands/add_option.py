"""Add an option that customers can order, or give one another price."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.models import MEGABYTE
from accounts.terminal import refusal
from orders.models import Option, OptionKind


class Command(BaseCommand):
    """`manage.py add_option account|mailbox|message AMOUNT --setup YEN`."""

    help = "Offer an option for a price; what was ordered before keeps its own."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what has no default."""
        parser.add_argument("kind", choices=OptionKind.values)
        parser.add_argument("amount", type=int, help="accounts, or MB more for a mailbox, messages")
        parser.add_argument("--setup", type=int, required=True, help="price in yen, paid once")

    def handle(self, *, kind: str, amount: int, setup: int, **options: Any) -> None:
        """Offer it, or say why not."""
        more = amount * (MEGABYTE if OptionKind(kind).of_an_account else 1)
        option = Option.objects.filter(kind=kind, amount=more).first()
        option = option or Option(kind=kind, amount=more)
        option.setup_yen, option.is_offered = setup, True
        try:
            option.full_clean()
        except ValidationError as error:
            raise refusal(error) from error
        option.save()
        self.stdout.write(f"{option}: {option.price}")
