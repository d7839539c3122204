"""Settings that would fail later are said at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email


@register
def where_customers_write(**_options: Any) -> list[CheckMessage]:
    """Ask for an address that can be written to, and for a way there."""
    address = settings.CONTACT_ADDRESS
    if not address:
        return []
    try:
        validate_email(address)
    except ValidationError:
        hint = "Set it to the address at which you read what customers write, or leave it empty."
        return [Error(f"CONTACT_ADDRESS is {address!r}.", hint=hint, id="orders.E001")]
    if settings.EMAIL_URL:
        return []
    hint = "Set EMAIL_URL, by which mail leaves the panel; or leave CONTACT_ADDRESS empty."
    return [Error("CONTACT_ADDRESS is set without EMAIL_URL.", hint=hint, id="orders.E002")]


@register
def how_often_customers_write(**_options: Any) -> list[CheckMessage]:
    """Ask for a number with which customers can write at all."""
    if settings.CONTACTS_PER_HOUR >= 1:
        return []
    hint = "Set it to 1 or more."
    return [Error("CONTACTS_PER_HOUR is below 1.", hint=hint, id="orders.E003")]
