"""Settings that would fail later are said at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from accounts.passwords import ROUNDS


@register
def password_scheme(**kwargs: Any) -> list[CheckMessage]:
    """Judge the scheme of mailbox passwords and its cost."""
    scheme, rounds = settings.MAILBOX_PASSWORD_SCHEME, settings.MAILBOX_PASSWORD_ROUNDS
    if scheme not in ROUNDS:
        words = f"MAILBOX_PASSWORD_SCHEME is {scheme!r}."
        return [Error(words, hint=f"Use one of {', '.join(ROUNDS)}.", id="accounts.E001")]
    low, _usual, high = ROUNDS[scheme]
    if rounds and not low <= rounds <= high:
        words = f"MAILBOX_PASSWORD_ROUNDS is {rounds}."
        hint = f"{scheme} takes {low} to {high}."
        return [Error(words, hint=hint, id="accounts.E002")]
    return []
