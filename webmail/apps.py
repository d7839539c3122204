"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebmailConfig(AppConfig):
    """Webmail of the domains."""

    name = "webmail"
    verbose_name = _("Webmail")

    def ready(self) -> None:
        """Register the check of this app's setting."""
        import_module("webmail.checks")
