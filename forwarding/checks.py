"""Settings that would fail later are said at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from mailhost import grammar


@register
def links_lead_to_the_panel(**kwargs: Any) -> list[CheckMessage]:
    """Judge the panel's address, to which the links in mailing lists' mail lead."""
    try:
        grammar.check_url(settings.PANEL_URL)
    except grammar.GrammarError:
        words = f"PANEL_URL is {settings.PANEL_URL!r}."
        hint = "Give scheme, host name and port alone, as https://panel.example.jp."
        return [Error(words, hint=hint, id="forwarding.E001")]
    return []
