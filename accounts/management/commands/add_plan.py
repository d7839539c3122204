"""Add a plan that domains can be opened on."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.models import Plan
from accounts.terminal import refusal


class Command(BaseCommand):
    """`manage.py add_plan CODE NAME_JA NAME_EN --accounts N [--managed]`."""

    help = "Add a plan (コース); its other limits are the manual's, and the admin's to change."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what has no default."""
        parser.add_argument("code", help="for --plan of add_domain")
        parser.add_argument("name_ja", help="name in Japanese")
        parser.add_argument("name_en", help="name in English")
        parser.add_argument("--accounts", type=int, required=True, help="number of POP accounts")
        parser.add_argument(
            "--managed", action="store_true", help="customers do not add and delete accounts"
        )

    def handle(
        self, *, code: str, name_ja: str, name_en: str, accounts: int, managed: bool, **options: Any
    ) -> None:
        """Add it, or say why not."""
        plan = Plan(
            code=code,
            name_ja=name_ja,
            name_en=name_en,
            account_limit=accounts,
            self_service=not managed,
        )
        try:
            plan.full_clean()
        except ValidationError as error:
            raise refusal(error) from error
        plan.save(force_insert=True)
        self.stdout.write(f"{code}: {accounts} POP accounts")
