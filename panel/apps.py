"""App configuration."""

from importlib import import_module

from django.apps import AppConfig


class PanelConfig(AppConfig):
    """Home, the name-taken assistant, confirmations."""

    name = "panel"

    def ready(self) -> None:
        """Register the checks of what the pages need."""
        import_module("panel.checks")
