"""The page on which a domain's webmail is installed and removed, and its help."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Domain
from accounts.roles import in_domain, may_change_accounts, require_self_service
from propagation.models import Change, ChangeState
from propagation.progress import before_farewell, clock, farewell, from_when, progress_of
from webmail.models import Webmail, key_of


def address_of(domain: Domain) -> str:
    """Return where the domain's webmail is, or will be; "" where the operator offers none."""
    return str(settings.WEBMAIL_URL).replace("{domain}", domain.name)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def webmail(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Say whether the domain has webmail and where, and install it."""
    if request.method == "POST":
        require_self_service(domain)
        if not address_of(domain):
            raise Http404
        Webmail.objects.install(domain, by=request.user)
        messages.success(request, _said(domain))
        return redirect("webmail", domain.name)
    key = key_of(domain)
    progress = progress_of(domain.server_id, [key])[key]
    context = {
        "domain": domain,
        "installed": Webmail.objects.filter(domain=domain).exists(),
        "progress": progress,
        "moving": progress.change is not None,
        "address": address_of(domain),
        "self_service": may_change_accounts(domain),
        "time": clock(domain.server),
        "kept_until": kept_until(domain),
        "kept_days": settings.WEBMAIL_KEPT_DAYS,
        "fixed": f"name@{domain}",
    }
    return render(request, "webmail/webmail.html", context)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def remove_webmail(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Remove a domain's webmail, after a confirmation that says what is lost and what stays."""
    require_self_service(domain)
    found = Webmail.objects.filter(domain=domain).first()
    if found is None or found.is_leaving():
        # Somebody was quicker; the page says how it stands.
        return redirect("webmail", domain.name)
    if request.method == "POST":
        Webmail.objects.remove(domain, by=request.user)
        later = _("The webmail of %(address)s will be removed at about %(time)s.")
        messages.success(request, farewell(domain.server, key_of(domain), domain, later))
        return redirect("webmail", domain.name)
    context = {
        "domain": domain,
        "address": address_of(domain),
        "kept_days": settings.WEBMAIL_KEPT_DAYS,
        **before_farewell(domain.server, key_of(domain)),
    }
    return render(request, "webmail/remove.html", context)


@require_safe
def help_webmail(request: HttpRequest) -> HttpResponse:
    """Say to everybody how mail is read and written in the browser (manual, section 4-1)."""
    # Where none is offered, the manual's.
    address = str(settings.WEBMAIL_URL) or "http://{domain}/webmail/"
    context = {
        "address": address.replace("{domain}", "example.com"),
        "kept_days": settings.WEBMAIL_KEPT_DAYS,
    }
    return render(request, "webmail/help.html", context)


def kept_until(domain: Domain) -> datetime | None:
    """Return until when settings of an earlier webmail are kept, None where there are none."""
    days = timedelta(days=settings.WEBMAIL_KEPT_DAYS)
    removals = Change.objects.of(domain.server_id, [key_of(domain)]).removals()
    gone = removals.filter(state=ChangeState.APPLIED, ended_at__gt=now() - days)
    latest = gone.order_by("-ended_at").values_list("ended_at", flat=True).first()
    return latest + days if latest else None


def _said(domain: Domain) -> str:
    later = _("Webmail can be used from about %(time)s.")
    return from_when(domain.server, key_of(domain), domain, later)
