"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Customers and what they own."""

    name = "accounts"
    verbose_name = _("Customers and accounts")

    def ready(self) -> None:
        """Register the checks of this app's settings, and hear of new mail servers."""
        import_module("accounts.checks")
        import_module("accounts.newcomers")
