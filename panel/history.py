"""The pages of the history: a domain's, and that of the login itself."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import names
from accounts.models import Domain
from accounts.roles import in_domain
from history.models import Entry, EntryQuerySet
from panel.history_words import subject, words

PAGE_SIZE = 50
#: What entries can be chosen by; all others are found without a choice.
AREAS: dict[str, Any] = {
    "mailbox": _("POP accounts"),
    "address": _("Forwarding addresses"),
    "list": _("Mailing lists"),
    "archive": _("Archives"),
    "webmail": _("Webmail"),
    "csv": _("CSV files"),
    "reply": _("Auto-reply"),
    "rights": _("What mailboxes' users may do"),
    "order": _("Options"),
    "domain": _("The domain"),
}


@in_domain
@require_safe
def history(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Show who changed what in a domain, when and from where; the latest first."""
    # Who had a domain of this name before is nobody's business.
    entries = Entry.objects.of_domain(domain.name).filter(at__gte=domain.created_at)
    # PostgreSQL knows no NUL.
    q = request.GET.get("q", "").replace("\0", "").strip()[:320]
    area = request.GET.get("sort", "")
    if area in AREAS:
        entries = entries.filter(area=area)
    if q:
        entries = _found(entries, q.lower(), domain)
    context = {"domain": domain, "areas": AREAS.items(), "q": q, "sort": area}
    return _page(request, entries, "panel/history.html", context)


@never_cache
@login_required
@require_safe
def own_history(request: HttpRequest) -> HttpResponse:
    """Show the logins with this login, and when its password was changed."""
    entries = Entry.objects.of_login(request.user.pk or 0)
    return _page(request, entries, "panel/own_history.html", {"q": "", "sort": ""})


def _found(entries: EntryQuerySet, text: str, domain: Domain) -> EntryQuerySet:
    """Return the entries about an account or address, or from an Internet address."""
    try:
        return entries.filter(address=str(ipaddress.ip_address(text.partition("%")[0])))
    except ValueError:
        pass
    local_part, at, host = text.rpartition("@")
    stored = f"{local_part.removeprefix('*')}@{names.stored_domain(host)}" if at else ""
    return entries.filter(subject=stored or f"{text}@{domain.name}")


def _page(
    request: HttpRequest, entries: EntryQuerySet, template: str, context: dict[str, Any]
) -> HttpResponse:
    page = Paginator(entries, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = [(entry, subject(entry), words(entry)) for entry in page]
    return render(request, template, {**context, "page": page, "rows": rows})
