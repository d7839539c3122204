"""What signs Apple profiles is tried when settings are checked, not when a customer waits."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from clientsettings import profile


@register("profiles", deploy=True)
def profile_certificate(**_options: Any) -> list[CheckMessage]:
    """Say what is wrong with PROFILE_CERTIFICATE and PROFILE_KEY."""
    if bool(settings.PROFILE_CERTIFICATE) != bool(settings.PROFILE_KEY):
        words = "Only one of PROFILE_CERTIFICATE and PROFILE_KEY is set."
        return [Error(words, hint="Set both, or none.", id="clientsettings.E001")]
    try:
        if profile.is_signed():
            profile.signed(b"")
    except profile.CannotSign as error:
        words = f"Apple profiles cannot be signed: {error}"
        hint = "PROFILE_CERTIFICATE and PROFILE_KEY name two PEM files that this user can read."
        return [Error(words, hint=hint, id="clientsettings.E002")]
    return []
