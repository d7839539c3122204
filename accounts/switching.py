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
    said = {
        True: _("FTP for %(name)s will be on from about %(time)s."),
        False: _("FTP for %(name)s will be off from about %(time)s. Open connections end then."),
    }
    return _page(request, _account(domain, account_id), "ftp", said, ports)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def account_ssh(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Say how an account reads its mail by SSH, and switch that on or off."""
    said = {
        True: _("SSH for %(name)s will be on from about %(time)s."),
        False: _("SSH for %(name)s will be off from about %(time)s. Open connections end then."),
    }
    ports = {"port": settings.SSH_PORT_SHOWN}
    return _page(request, _account(domain, account_id), "ssh", said, ports)


def _account(domain: Domain, account_id: Any) -> Account:
    """Return the domain's account, or 404."""
    account = get_object_or_404(domain.accounts.select_related("server"), pk=account_id)
    account.domain = domain
    return account


def _page(
    request: HttpRequest, account: Account, name: str, said: dict[bool, str], ports: dict[str, int]
) -> HttpResponse:
    """Show the page of one switch, or switch it; `said` is what counts from then on."""
    domain = account.domain
    reasons: list[str] = []
    if request.method == "POST":
        require_self_service(domain)
        on = request.POST.get(name) == "on"
        try:
            account.switch(name, on, by=request.user)
        except ValidationError as error:
            reasons = error.messages
        else:
            values = {"name": account.name, "time": clock(account.server)}
            messages.success(request, said[on] % values)
            return redirect(f"account_{name}", domain.name, account.pk)
    context = {
        "domain": domain,
        "account": account,
        "progress": progress_of(account.server_id, [account.key])[account.key],
        "reasons": reasons,
        "fixed": domain.fixed_account_id == account.pk,
        "no_password": passwords.is_unusable(account.password_hash),
        "self_service": may_change_accounts(domain),
        "time": clock(account.server),
        **ports,
    }
    return render(request, f"accounts/{name}.html", context, status=422 if reasons else 200)
