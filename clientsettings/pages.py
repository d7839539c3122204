"""The pages on which a domain's owner reads how to set up mail programs."""

from __future__ import annotations

import io
from typing import Any
from unicodedata import normalize
from urllib.parse import urlsplit

import segno
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts import passwords
from accounts.models import Domain
from accounts.roles import in_domain
from clientsettings import addresses, dns
from clientsettings.server import settings_of
from clientsettings.shown import shown
from clientsettings.views import setup_link


@in_domain
@require_safe
def domain_settings(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Lead to an address's settings; show the DNS records by which programs find the servers."""
    typed = request.GET.get("address", "").strip()[:254]
    # A Japanese keyboard types letters in full width as well: ｔａｎａｋａ means tanaka.
    local_part, _at, after = normalize("NFKC", typed).lower().partition("@")
    error = ""
    if typed:
        if after in ("", domain.name, str(domain)) and addresses.find(domain, local_part):
            return redirect("client_settings", domain.name, local_part)
        error = _("%(domain)s has no mailbox or forwarding address of this name.") % {
            "domain": domain
        }
    server = settings_of(domain)
    context = {
        "domain": domain,
        "typed": typed,
        "error": error,
        "records": dns.records(server, _panel_host()),
        **shown(server, domain.fixed_address),
    }
    status = 422 if error else 200
    return render(request, "clientsettings/domain.html", context, status=status)


@in_domain
@require_safe
def client_settings(request: HttpRequest, domain: Domain, local_part: str) -> HttpResponse:
    """Show what to enter in a mail program for one address."""
    return render(request, "clientsettings/address.html", _context(domain, local_part))


@in_domain
@require_safe
def client_settings_sheet(request: HttpRequest, domain: Domain, local_part: str) -> HttpResponse:
    """Show it as a sheet to print and to hand to who uses the address."""
    return render(request, "clientsettings/sheet.html", _context(domain, local_part))


@in_domain
@require_safe
def client_settings_qr(request: HttpRequest, domain: Domain, local_part: str) -> HttpResponse:
    """Draw the QR code that opens the address's open page on a telephone."""
    own = _own(domain, local_part)
    image = io.BytesIO()
    code = segno.make_qr(setup_link(own.address), error="m")
    # On white in every light: readers look for dark on light.
    code.save(image, kind="svg", scale=5, border=4, light="#fff")
    return HttpResponse(image.getvalue(), content_type="image/svg+xml")


def _context(domain: Domain, local_part: str) -> dict[str, Any]:
    own = _own(domain, local_part)
    account = own.account
    return {
        "domain": domain,
        "own": own,
        "local_part": local_part,
        "no_password": account is not None and passwords.is_unusable(account.password_hash),
        "setup_link": setup_link(own.address),
        **shown(settings_of(domain), own.address),
    }


def _own(domain: Domain, local_part: str) -> addresses.OwnAddress:
    own = addresses.find(domain, local_part)
    if own is None:
        raise Http404
    return own


def _panel_host() -> str:
    """Return the panel's host name, "" where it has no TLS: mail programs would not believe it."""
    panel = urlsplit(settings.PANEL_URL)
    return (panel.hostname or "") if panel.scheme == "https" else ""
