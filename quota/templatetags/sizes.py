"""`{% load sizes %}`: sizes as people write them."""

from django import template

from quota.words import bytes_of

register = template.Library()


@register.filter
def size(count: int) -> str:
    """Return bytes in the manual's units: 1 MB is 1,048,576 and 1 KB 1,024 bytes."""
    return bytes_of(int(count))
