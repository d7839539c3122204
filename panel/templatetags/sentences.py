"""What stands between two sentences that are translated each by itself."""

from __future__ import annotations

from django import template
from django.utils.translation import get_language

register = template.Library()


@register.simple_tag
def between() -> str:
    """Return a space, but nothing in Japanese, whose full stop brings its own room."""
    return "" if get_language() == "ja" else " "
