"""The pages of sending: what was sent, what was refused, what would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Account, Domain
from accounts.roles import in_domain, of_account
from accounts.viewers import Right, Viewer
from mailhost.config import HostConfig
from mailhost.records import PlanLimits
from quota import pages
from quota.checking import ListLike, Used, judge
from quota.forms import CheckForm
from quota.limits import Limits, limits_of
from quota.models import Guessing, SendingHour
from quota.words import bytes_of, number

# Given by plusmail.urls: the IP address that a request comes from, "" or none where unknown.
ClientAddress = Callable[[HttpRequest], str]


class ListsAmong(Protocol):
    """Given by plusmail.urls: which mailing lists mail to some recipients comes to."""

    def __call__(self, recipients: list[str], sender: str) -> Sequence[ListLike]:
        """Return the lists, with what each says to this sender."""


@in_domain
@require_safe
def sending(request: HttpRequest, domain: Domain, *, client_address: ClientAddress) -> HttpResponse:
    """Show what the accounts of a domain sent today, and which of them may send from where."""
    visitor = client_address(request)
    page = pages.page_of(domain, request.GET.get("page"))
    hours = SendingHour.objects.of_domain(domain)
    context = {
        "domain": domain,
        "report": pages.report_of(domain),
        "gauge": pages.Gauge(
            pages.domain_sent_today(domain), domain.plan.domain_recipients_per_day
        ),
        "per_account": number(domain.plan.recipients_per_day),
        "page": page,
        "rows": pages.rows_of(domain, page.object_list, visitor),
        "days": pages.days_before(hours),
        "refusals": pages.domain_refusals(domain),
        **pages.traffic(hours, visitor),
    }
    return render(request, "quota/sending.html", context)


@of_account(Right.LOGIN)
@require_http_methods(["GET", "HEAD", "POST"])
def account_sending(
    request: HttpRequest, viewer: Viewer, account: Account, *, client_address: ClientAddress
) -> HttpResponse:
    """Show what one account sent, may send and was refused; lift what guessing has led to."""
    domain = viewer.domain
    if request.method == "POST":
        if "lift" in request.POST and Guessing.objects.filter(account=account).lift():
            words = _("Within a minute the wrong passwords for %(name)s are forgotten.")
            messages.success(request, words % {"name": account.name})
        return redirect(viewer.url("account_sending", account.pk))
    visitor = client_address(request)
    limits, report = limits_of(account, domain), pages.report_of(domain)
    hours = SendingHour.objects.filter(account=account)
    of_domain = limits.domain_recipients_per_day
    context = {
        "viewer": viewer,
        "domain": domain,
        "account": account,
        "report": report,
        "gauge": pages.Gauge(pages.sent_today(account), limits.recipients_per_day),
        "domain_gauge": pages.Gauge(pages.domain_sent_today(domain), of_domain)
        if of_domain
        else None,
        "limits": _in_words(limits),
        "days": pages.days_before(hours),
        "refusals": pages.refusals_of(account),
        **pages.traffic(hours, visitor),
        **pages.ways(account, limits, report, visitor),
        **pages.guessing_at(account),
    }
    return render(request, "quota/account.html", context)


@of_account(Right.LOGIN)
@require_http_methods(["GET", "HEAD", "POST"])
def check_sending(
    request: HttpRequest, viewer: Viewer, account: Account, *, lists_among: ListsAmong
) -> HttpResponse:
    """Say what would happen to a message, without sending anything."""
    domain = viewer.domain
    limits = limits_of(account, domain)
    form = CheckForm(
        request.POST or None,
        server_id=domain.server_id,
        lists_among=partial(lists_among, sender=account.address),
    )
    counted_together = limits.domain_recipients_per_day > 0
    used = Used(
        pages.sent_today(account), pages.domain_sent_today(domain) if counted_together else 0
    )
    draft, findings = None, []
    if request.method == "POST" and form.is_valid():
        draft = form.cleaned_data["draft"]
        findings = judge(draft, limits, used)
    context = {
        "viewer": viewer,
        "domain": domain,
        "account": account,
        "form": form,
        "limits": _in_words(limits),
        "findings": findings,
        "recipients": number(draft.recipients) if draft else "",
        "size": bytes_of(draft.size) if draft and draft.size else "",
    }
    status = 422 if form.errors else 200
    return render(request, "quota/check.html", context, status=status)


@never_cache
@require_safe
def help_sending(request: HttpRequest) -> HttpResponse:
    """Say to everybody, logged in or not, why mail is refused and what helps.

    The answers of the mail servers name this page.
    """
    context = {
        "limits": _in_words(PlanLimits("usual")),
        "window_minutes": HostConfig("mail.example").window_minutes,
    }
    return render(request, "quota/help.html", context)


def _in_words(limits: Limits | PlanLimits) -> dict[str, str]:
    """Return the limits as people write them."""
    return {
        "recipients_per_message": number(limits.recipients_per_message),
        "recipients_per_day": number(limits.recipients_per_day),
        "message_bytes": bytes_of(limits.message_bytes),
        "list_message_bytes": bytes_of(limits.list_message_bytes),
    }
