"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class QuotaConfig(AppConfig):
    """How full mailboxes are."""

    name = "quota"
    verbose_name = _("Mailbox usage")
