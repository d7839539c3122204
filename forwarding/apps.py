"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ForwardingConfig(AppConfig):
    """Addresses and where they lead."""

    name = "forwarding"
    verbose_name = _("Forwarding")
