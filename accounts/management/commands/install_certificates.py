"""Put certificates of hosted domains in place: the task by cron or by an ACME client's hook."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.certificates import install
from propagation.models import MailServer, NotHere


class Command(BaseCommand):
    """`manage.py install_certificates`."""

    help = "Put the certificates that an ACME client left on this machine into service."

    def handle(self, **options: Any) -> None:
        """Go through the servers of this machine."""
        for server in MailServer.objects.all():
            try:
                troubles = install(server)
            except NotHere:
                continue
            for domain, trouble in troubles.items():
                self.stdout.write(f"{server}: {domain}: {trouble}")
