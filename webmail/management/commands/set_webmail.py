"""Install a domain's webmail, or remove it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import the_domain
from propagation.models import Change
from webmail.models import Webmail, key_of


class Command(BaseCommand):
    """`manage.py set_webmail DOMAIN on|off`."""

    help = "Install the webmail of a domain, or remove it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the domain and whether it is to have webmail."""
        parser.add_argument("domain")
        parser.add_argument("switch", choices=["on", "off"])
        parser.add_argument("--now", action="store_true", help="leave no time to take it back")

    def handle(self, *, domain: str, switch: str, now: bool, **options: Any) -> None:
        """Propose it."""
        found = the_domain(domain)
        if switch == "on":
            Webmail.objects.install(found)
        else:
            Webmail.objects.remove(found)
        if now:
            Change.objects.pending().of(found.server_id, [key_of(found)]).hurry()
        self.stdout.write(f"{domain}: webmail is {switch} once the change is applied")
