"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class QuotaConfig(AppConfig):
    """What accounts use of their limits."""

    name = "quota"
    verbose_name = _("Sending and its limits")
