"""App configuration."""

from django.apps import AppConfig


class PanelConfig(AppConfig):
    """Home, the name-taken assistant, confirmations."""

    name = "panel"
