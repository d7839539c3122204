"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ClientSettingsConfig(AppConfig):
    """Setting up mail programs."""

    name = "clientsettings"
    verbose_name = _("Mail program settings")

    def ready(self) -> None:
        """Register the check of what signs Apple profiles."""
        import_module("clientsettings.checks")
