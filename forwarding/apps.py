"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ForwardingConfig(AppConfig):
    """Addresses and where they lead."""

    name = "forwarding"
    verbose_name = _("Forwarding")

    def ready(self) -> None:
        """Register the checks of this app's settings."""
        import_module("forwarding.checks")
