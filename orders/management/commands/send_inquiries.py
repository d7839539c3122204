"""Send what customers wrote by “Contact us”, as the worker does every minute."""

from typing import Any

from django.core.management.base import BaseCommand

from orders import contact


class Command(BaseCommand):
    """`manage.py send_inquiries`: what could not be sent is tried again by the next call."""

    help = "Send what customers wrote to us and has not gone out yet, to CONTACT_ADDRESS."

    def handle(self, **options: Any) -> None:
        """Send it."""
        self.stdout.write(f"{contact.send_written()} sent")
