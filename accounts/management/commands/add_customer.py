"""Create a customer and the login."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from accounts.models import Customer, User
from accounts.terminal import read_password, refusal


class Command(BaseCommand):
    """`manage.py add_customer LOGIN NAME`, the password from standard input."""

    help = "Create a customer and the login; the password is read from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the login and the customer's name."""
        parser.add_argument("login")
        parser.add_argument("name", help="as it is shown, such as a company's name")

    def handle(self, *, login: str, name: str, **options: Any) -> None:
        """Create both, or neither."""
        password = read_password()
        user = User(username=login)
        try:
            validate_password(password, user)
            user.set_password(password)
            user.full_clean()
            with transaction.atomic():
                user.save(force_insert=True)
                Customer.objects.create(user=user, name=name)
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{name} logs in as {login}")
