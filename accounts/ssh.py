"""The page on which an account's reading mail by SSH is switched on and off."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import passwords
from accounts.models import Account, Domain
from accounts.roles import in_domain, may_change_accounts, require_self_service
from propagation.progress import clock, progress_of


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def account_ssh(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Say how an account reads its mail by SSH, and switch that on or off."""
    account = get_object_or_404(domain.accounts.select_related("server"), pk=account_id)
    account.domain = domain
    reasons: list[str] = []
    if request.method == "POST":
        require_self_service(domain)
        on = request.POST.get("ssh") == "on"
        try:
            account.switch_ssh(on, by=request.user)
        except ValidationError as error:
            reasons = error.messages
        else:
            messages.success(request, _said(account))
            return redirect("account_ssh", domain.name, account.pk)
    progress = progress_of(account.server_id, [account.key])[account.key]
    context = {
        "domain": domain,
        "account": account,
        "progress": progress,
        "reasons": reasons,
        "no_password": passwords.is_unusable(account.password_hash),
        "self_service": may_change_accounts(domain),
        "port": settings.SSH_PORT_SHOWN,
        "time": clock(account.server),
    }
    return render(request, "accounts/ssh.html", context, status=422 if reasons else 200)


def _said(account: Account) -> str:
    """Say from when the switch counts."""
    words = (
        _("SSH for %(name)s will be on from about %(time)s.")
        if account.ssh
        else _("SSH for %(name)s will be off from about %(time)s. Open connections end then.")
    )
    return words % {"name": account.name, "time": clock(account.server)}
