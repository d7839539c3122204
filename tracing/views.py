"""The pages on which a customer finds out what happens to mail."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import Domain
from accounts.names import readable_address
from accounts.roles import in_domain
from tracing import words
from tracing.diagnosis import diagnose
from tracing.models import MailEvent
from tracing.tree import tree_of
from tracing.whose import Asked, asked_for


@in_domain
@require_safe
def address_map(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Draw where mail for an address goes; without one, ask for it."""
    asked, context = _asked(request, domain)
    if asked:
        tree = tree_of(asked.domain, asked.address)
        context |= {"tree": tree, "moving": any(n.progress.change for n in tree.nodes())}
    return _page(request, "tracing/map.html", context)


@in_domain
@require_safe
def why(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Say why mail for an address does not arrive, and what became of its last messages."""
    asked, context = _asked(request, domain)
    if asked:
        found = diagnose(asked.domain, asked.address)
        context |= {
            "verdict": found.verdict,
            "sentence": words.sentence(asked, found.verdict),
            "button": words.button(asked, found.verdict),
            "events": [(event, words.why(event), _other(event)) for event in found.events],
            "report": found.report,
        }
    return _page(request, "tracing/why.html", context)


def _asked(request: HttpRequest, domain: Domain) -> tuple[Asked | None, dict[str, Any]]:
    """Return the address that was asked for, and what both pages show of the question."""
    typed = request.GET.get("address", "").strip()[:254]
    asked = asked_for(domain, typed) if typed else None
    error = ""
    if typed and asked is None:
        error = _(
            "Enter an address of one of your domains, such as info@%(domain)s. Other addresses "
            "cannot be looked at here."
        ) % {"domain": domain}
    context = {
        "domain": domain,
        "typed": readable_address(asked.address) if asked else typed,
        "asked": asked,
        "error": error,
    }
    return asked, context


def _other(event: MailEvent) -> str:
    """Return the other side of a message; "" for a notice, which has no sender."""
    return readable_address(event.other)


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    return render(request, template, context, status=422 if context["error"] else 200)
