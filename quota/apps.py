"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class QuotaConfig(AppConfig):
    """What accounts use of their limits."""

    name = "quota"
    verbose_name = _("Sending, mailboxes and their limits")

    def ready(self) -> None:
        """Register the checks of this app's settings."""
        import_module("quota.checks")
