"""App configuration."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OrdersConfig(AppConfig):
    """Options and their orders, and what customers write to the operator."""

    name = "orders"
    verbose_name = _("Options and orders")

    def ready(self) -> None:
        """Register the check of this app's settings."""
        import_module("orders.checks")
