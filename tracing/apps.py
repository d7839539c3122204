"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TracingConfig(AppConfig):
    """Finding out what happens to mail."""

    name = "tracing"
    verbose_name = _("What became of mail")
