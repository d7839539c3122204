"""Tell the panel about a mail server."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from accounts.terminal import refusal
from propagation.models import MailServer


class Command(BaseCommand):
    """`manage.py add_server NAME`."""

    help = "Tell the panel about a mail server; its worker listens to the queue that is printed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the host name."""
        parser.add_argument("name", help="host name, also of its directory below MAILHOST_ROOT")

    def handle(self, *, name: str, **options: Any) -> None:
        """Create it, once."""
        server = MailServer.objects.filter(name=name).first()
        try:
            if server is None:
                server = MailServer(name=name)
                server.full_clean()
                server.save(force_insert=True)
        except ValidationError as error:
            raise refusal(error) from error
        self.stdout.write(f"{server}: its worker listens to the queue {server.queue}")
