"""App configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MailuserConfig(AppConfig):
    """Mailboxes' users, and their auto-replies."""

    name = "mailuser"
    verbose_name = _("Users of mailboxes")
