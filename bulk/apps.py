"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BulkConfig(AppConfig):
    """Import and export of many at once."""

    name = "bulk"
    verbose_name = _("CSV files")
