"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RemotemailConfig(AppConfig):
    """Mail on the servers, and who looked at it."""

    name = "remotemail"
    verbose_name = _("Mail on the server")
