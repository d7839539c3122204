"""Open a domain for a customer."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Customer, Domain, Plan
from accounts.terminal import read_password, refusal
from propagation.models import MailServer


class Command(BaseCommand):
    """`manage.py add_domain DOMAIN --customer LOGIN --plan CODE --server NAME`."""

    help = "Open a domain with its fixed account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what a domain needs."""
        parser.add_argument("domain")
        parser.add_argument("--customer", required=True, help="the customer's login")
        parser.add_argument("--plan", required=True, help="the plan's code")
        parser.add_argument("--server", required=True, help="the mail server's host name")
        parser.add_argument(
            "--with-password",
            action="store_true",
            help="read the fixed account's password from standard input",
        )

    def handle(self, *, domain: str, **options: Any) -> None:
        """Open it, or say why not."""
        try:
            opened = Domain.objects.open(
                customer=Customer.objects.get(user__username=options["customer"]),
                name=domain,
                plan=Plan.objects.get(code=options["plan"]),
                server=MailServer.objects.get(name=options["server"]),
                password=read_password() if options["with_password"] else "",
            )
        except ValidationError as error:
            raise refusal(error) from error
        except (Customer.DoesNotExist, Plan.DoesNotExist, MailServer.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{opened.name} on {opened.server}, fixed: {opened.fixed_account}")
