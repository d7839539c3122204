"""The pages on which the domain's owner chooses what mailboxes' users may do."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.models import Domain
from accounts.roles import in_domain
from mailuser.forms import AccountRightsForm, DomainRightsForm
from mailuser.models import AccountRights, rights_in


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def mailbox_rights(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Choose what the users of all the domain's mailboxes may do that have nothing of their own."""
    form = DomainRightsForm(request.POST or None, instance=rights_in(domain.pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved. It counts at once, also for who is logged in."))
        return redirect("mailbox_rights", domain.name)
    own = AccountRights.objects.filter(account__domain=domain).select_related("account")
    context = {
        "domain": domain,
        "form": form,
        "own": [rights.account for rights in own.order_by("account__name")[:50]],
    }
    return render(request, "mailuser/rights.html", context, status=422 if form.errors else 200)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def account_rights(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Choose what one mailbox's user may do, or that the domain's choice counts for him."""
    account = get_object_or_404(domain.accounts.select_related("server"), pk=account_id)
    account.domain = domain
    own = AccountRights.objects.filter(account=account).first()
    usual = rights_in(domain.pk)
    rights = own or AccountRights(account=account, **usual.given())
    form = AccountRightsForm(request.POST or None, instance=rights)
    if request.method == "POST":
        if "usual" in request.POST:
            if own:
                own.delete()
            messages.success(request, _("For this mailbox the domain's choice counts again."))
            return redirect("account_rights", domain.name, account.pk)
        if form.is_valid():
            form.save()
            messages.success(request, _("Saved. It counts at once, also for who is logged in."))
            return redirect("account_rights", domain.name, account.pk)
    context = {"domain": domain, "account": account, "form": form, "own": own}
    status = 422 if form.errors else 200
    return render(request, "mailuser/account_rights.html", context, status=status)
