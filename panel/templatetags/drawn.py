"""Parts of pages that are drawn once for all who see the same, and then kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language

register = template.Library()


@register.simple_tag
def drawn(part: str, **facts: Any) -> SafeString:
    """Include a template that sees nothing but these facts and the reader's language.

    For each of them it is drawn once. So facts are texts, numbers and tuples of them, never an
    object that may look otherwise tomorrow, and never a secret.
    """
    return _drawn(part, get_language(), tuple(facts.items()))


@lru_cache(maxsize=2000)
def _drawn(part: str, language: str | None, facts: tuple[tuple[str, Any], ...]) -> SafeString:
    return render_to_string(part, dict(facts))
