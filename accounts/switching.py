"""The pages on which an account's FTP, and its reading mail by SSH, are switched on and off."""

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
def account_ftp(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Say how an account reaches its domain's directory by FTP, and switch it on or off."""
    ports = {"ftp_port": settings.FTP_PORT_SHOWN, "sftp_port": settings.SFTP_PORT_SHOWN}
    return _page(request, domain, account_id, "ftp", ports)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def account_ssh(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Say how an account reads its mail by SSH, and switch that on or off."""
    return _page(request, domain, account_id, "ssh", {"port": settings.SSH_PORT_SHOWN})


def _page(
    request: HttpRequest, domain: Domain, account_id: Any, switch: str, ports: dict[str, int]
) -> HttpResponse:
    """Show the page of one of Account.SWITCHES, with the ports that it tells, or switch it."""
    account = get_object_or_404(domain.accounts.select_related("server"), pk=account_id)
    account.domain = domain
    reasons: list[str] = []
    if request.method == "POST":
        require_self_service(domain)
        on = request.POST.get(switch) == "on"
        try:
            account.switch(switch, on, by=request.user)
        except ValidationError as error:
            reasons = error.messages
        else:
            messages.success(request, _said(account, switch, on))
            return redirect(f"account_{switch}", domain.name, account.pk)
    context = {
        "domain": domain,
        "account": account,
        "switch": switch,
        "what": Account.SWITCHES[switch],
        "on": account.switches()[switch],
        "progress": progress_of(account.server_id, [account.key])[account.key],
        "reasons": reasons,
        "fixed": domain.fixed_account_id == account.pk,
        "no_password": passwords.is_unusable(account.password_hash),
        "self_service": may_change_accounts(domain),
        "time": clock(account.server),
        **ports,
    }
    return render(request, f"accounts/{switch}.html", context, status=422 if reasons else 200)


def _said(account: Account, switch: str, on: bool) -> str:
    """Say from when the switch counts."""
    words = (
        _("%(what)s for %(name)s will be on from about %(time)s.")
        if on
        else _("%(what)s for %(name)s will be off from about %(time)s. Open connections end then.")
    )
    what = Account.SWITCHES[switch]
    return words % {"what": what, "name": account.name, "time": clock(account.server)}
