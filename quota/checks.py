"""Settings that would fail later are said at the start."""

from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def sender_of_notices(**_options: Any) -> list[CheckMessage]:
    """Ask for an address that mail to customers can come from."""
    _name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    wanted = settings.MAIL_TO_CUSTOMERS or settings.DEFAULT_FROM_EMAIL
    if wanted and ("@" not in address or "\n" in settings.DEFAULT_FROM_EMAIL):
        words = f"DEFAULT_FROM_EMAIL is {settings.DEFAULT_FROM_EMAIL!r}."
        hint = "Set it to the address from which the panel writes to customers."
        return [Error(words, hint=hint, id="quota.E001")]
    return []
