"""Addresses in pages that domains' owners and mailboxes' users both have."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from accounts.viewers import Right

register = template.Library()


@register.simple_tag(takes_context=True)
def at(context: Context, page: str, *args: Any) -> str:
    """Return the address of a page for who looks; see accounts.viewers.Viewer.url."""
    address: str = context["viewer"].url(page, *args)
    return address


@register.simple_tag(takes_context=True)
def may(context: Context, right: str) -> bool:
    """Say whether who looks has this right."""
    allowed: bool = context["viewer"].may(Right(right))
    return allowed
