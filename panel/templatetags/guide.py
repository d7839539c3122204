"""The way from a page to what the guide says about it."""

from __future__ import annotations

from typing import Any

from django import template

from panel.guide import section_of
from panel.templatetags.drawn import drawn

register = template.Library()


@register.simple_tag(takes_context=True)
def help_on_this_page(context: template.RequestContext) -> Any:
    """Draw the link to the guide's section about the page that is shown."""
    match = context["request"].resolver_match
    section = section_of(match.url_name or "") if match else None
    if section is None:
        return drawn("panel/_help.html", name="", title="")
    return drawn("panel/_help.html", name=section.name, title=section.short_title)
