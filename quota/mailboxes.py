"""The pages of mailboxes: how full they are, what waits, and what to do about it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.forms import ListForm
from accounts.models import Domain
from accounts.roles import in_domain
from mailhost.records import PlanLimits
from quota import fill
from quota.wednesday import HOUR
from quota.words import bytes_of


@in_domain
@require_safe
def mailboxes(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Show how full a domain's mailboxes are, what waits for them, and what Wednesday brings."""
    text = ListForm(request.GET).text()
    page = fill.page_of(domain, text.partition("@")[0], request.GET.get("page"))
    context = {
        "domain": domain,
        "report": fill.report_of(domain),
        "page": page,
        "rows": fill.rows_of(domain, page.object_list),
        "totals": fill.totals(domain),
        "wednesday": fill.next_wednesday(domain),
        "q": text,
    }
    return render(request, "quota/mailboxes.html", context)


@never_cache
@require_safe
def help_mailbox(request: HttpRequest) -> HttpResponse:
    """Say to everybody, logged in or not, what a full mailbox means and what helps.

    Notices and the answers of the mail servers name this page.
    """
    context = {"size": bytes_of(PlanLimits("usual").mailbox_bytes), "hour": HOUR}
    return render(request, "quota/help_mailbox.html", context)
