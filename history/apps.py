"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HistoryConfig(AppConfig):
    """The trail of changes and logins."""

    name = "history"
    verbose_name = _("History")

    def ready(self) -> None:
        """Listen to logins."""
        import_module("history.logins")
