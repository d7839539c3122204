"""What mail programs and people get without a login.

Each answer is the same for every address of a hosted domain, whether it exists or not: the only
query is for the domain. At a hosted domain's own name (autoconfig.example.com) `hosted` is that
domain, found by panel.hosts; at the panel's it is None.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Domain
from accounts.names import readable_address, readable_domain
from clientsettings import autoconfig as thunderbird
from clientsettings import autodiscover as outlook
from clientsettings import profile as apple
from clientsettings import stated
from clientsettings.server import ServerSettings, settings_of
from clientsettings.shown import shown

# By the name that Thunderbird gives to the address it asks for.
ADDRESS = "emailaddress"


@require_safe
def autoconfig(request: HttpRequest, *, hosted: Domain | None = None) -> HttpResponse:
    """Tell Thunderbird and its kind the servers of an address, or of the domain that was asked."""
    text = request.GET.get(ADDRESS, "")
    try:
        name = stated.read(text).domain if text or hosted is None else hosted.name
    except stated.NotAnAddress:
        return HttpResponse(status=400)
    server = _server(name, hosted)
    if server is None:
        return HttpResponse(status=404)
    page = f"{settings.PANEL_URL}{reverse('help_mail_program')}"
    return _xml(
        thunderbird.document(server, title=readable_domain(server.domain), help_url=page), 200
    )


# Outlook has no cookie and no token, and nothing is changed.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def autodiscover(request: HttpRequest, *, hosted: Domain | None = None) -> HttpResponse:
    """Tell Outlook the servers of the address that it posts."""
    if request.method != "POST":
        return _outlook_elsewhere(hosted)
    try:
        question = outlook.address_in(request.read(outlook.LONGEST_QUESTION + 1))
        address = stated.read(question)
    except (outlook.Malformed, stated.NotAnAddress):
        return _xml(outlook.error(outlook.INVALID), 400)
    server = _server(address.domain, hosted)
    if server is None:
        return _xml(outlook.error(outlook.NO_PROVIDER), 404)
    return _xml(outlook.answer(server, address), 200)


def _outlook_elsewhere(hosted: Domain | None) -> HttpResponse:
    """Lead Outlook to the panel, whose certificate is good, by the redirect it looks for."""
    if hosted is None:
        return HttpResponse(status=405, headers={"Allow": "POST"})
    return HttpResponseRedirect(f"{settings.PANEL_URL}{reverse('autodiscover')}")


@never_cache
@require_safe
def apple_profile(request: HttpRequest) -> HttpResponse:
    """Hand out the profile that sets up Mail on an iPhone, iPad or Mac."""
    try:
        address = stated.read(request.GET.get(ADDRESS, ""))
    except stated.NotAnAddress:
        return HttpResponse(status=400)
    server = _server(address.domain, None)
    if server is None:
        return HttpResponse(status=404)
    whose = readable_address(str(address))
    text = _("Sets up %(address)s in Mail. Your password is asked for on the device.")
    name = _("Mail: %(address)s") % {"address": whose}
    content = apple.profile(server, address, name=name, text=text % {"address": whose})
    # A fixed name: nothing of what was stated stands in a header.
    headers = {
        "Content-Disposition": 'attachment; filename="mail.mobileconfig"',
        "X-Content-Type-Options": "nosniff",
    }
    return HttpResponse(content, content_type=apple.CONTENT_TYPE, headers=headers)


@never_cache
@require_safe
def setup(request: HttpRequest) -> HttpResponse:
    """Show what to enter for an address, open to everybody: the QR code leads here."""
    text = request.GET.get(ADDRESS, "")
    context: dict[str, Any] = {"typed": text[: stated.LONGEST], "error": "", "status": 200}
    if text:
        context |= _for_stated(text)
    return render(request, "clientsettings/setup.html", context, status=context["status"])


def _for_stated(text: str) -> dict[str, Any]:
    """Return what the open page shows of an address, or why it shows nothing."""
    try:
        address = stated.read(text)
    except stated.NotAnAddress:
        words = _("Enter your whole mail address, such as info@example.com.")
        return {"error": words, "status": 422}
    server = _server(address.domain, None)
    if server is None:
        words = _("We do not look after mail for %(domain)s. Check what stands after the @.")
        return {"error": words % {"domain": readable_domain(address.domain)}, "status": 404}
    return shown(server, str(address))


@require_safe
def help_mail_program(request: HttpRequest) -> HttpResponse:
    """Explain accounts, servers and logins: the manual's sections 1 and 2 in today's words."""
    return render(request, "clientsettings/help.html")


def setup_link(address: str) -> str:
    """Return the open page for an address, to be written into a QR code."""
    return f"{settings.PANEL_URL}{reverse('setup')}?{urlencode({ADDRESS: address}, safe='@')}"


def _server(name: str, hosted: Domain | None) -> ServerSettings | None:
    """Return the settings of a domain on record; at a hosted domain's own name only of that."""
    if hosted is not None:
        return settings_of(hosted) if hosted.name == name else None
    domain = Domain.objects.for_settings().filter(name=name).first()
    return settings_of(domain) if domain else None


def _xml(content: bytes, status: int) -> HttpResponse:
    headers = {"X-Content-Type-Options": "nosniff"}
    return HttpResponse(
        content, content_type="text/xml; charset=utf-8", status=status, headers=headers
    )
