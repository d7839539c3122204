"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PropagationConfig(AppConfig):
    """Mail servers and the changes on their way to them."""

    name = "propagation"
    verbose_name = _("Propagation")
