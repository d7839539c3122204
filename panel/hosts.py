"""Which host names the panel answers to.

The panel itself has one address (PANEL_URL, and ALLOWED_HOSTS beside it). Every
hosted domain answers too, but only at the few addresses of settings.AT_HOSTED_DOMAINS:
the one that the manual gives, /cgi-bin/plusmail, which leads to the panel and takes nothing
from the query string (the old program could be given a password there, CVE-2000-0074), and
those at which mail programs look for their settings. These views are called from here, past
all other middleware: no session, no cookie, no redirect to a name of the customer's that has no
certificate, and no word to browsers (HSTS) about names that are the customer's.
"""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseNotFound
from django.http.request import split_domain_port, validate_host
from django.urls import Resolver404, resolve

from accounts.models import Domain
from panel.views import to_the_panel

OLD_ADDRESS = "/cgi-bin/plusmail"
Answer = Callable[[HttpRequest], HttpResponse]


class HostedDomainMiddleware:
    """Judge the Host header before anything else looks at the request."""

    def __init__(self, get_response: Answer) -> None:
        """Take the rest of the panel."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer for the panel's host; lead a hosted domain's old address to the panel."""
        if "\0" in request.path or any("\0" in text for text in request.COOKIES.values()):
            # No name of ours has one, and PostgreSQL takes none.
            return HttpResponseBadRequest()
        host, _port = split_domain_port(request.META.get("HTTP_HOST", ""))
        if validate_host(host, panel_hosts()):
            return self.get_response(request)
        domain = Domain.objects.at_host(host) if host else None
        if domain is None:
            return HttpResponseBadRequest()
        if request.path.rstrip("/") == OLD_ADDRESS:
            return to_the_panel(request)
        return _answer_at(domain, request)


def panel_hosts() -> list[str]:
    """Return the names at which the panel itself answers."""
    own = urlsplit(settings.PANEL_URL).hostname
    return [*settings.PANEL_HOSTS, *([own] if own else [])]


def client_address(request: HttpRequest) -> str:
    """Return where a request comes from.

    Behind our own proxy that is the last address it wrote; whatever a client put in
    front of it is not believed.
    """
    if settings.BEHIND_PROXY:
        return str(request.headers.get("X-Forwarded-For", "")).rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def client_place(request: HttpRequest) -> str:
    """Return whose failed logins are counted together: an address, of IPv6 its /64's first.

    Such a network is one customer's (RFC 6177), who has as many addresses as he likes.
    """
    address = client_address(request)
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(IPv6Address(int(found) >> 64 << 64))


def _answer_at(domain: Domain, request: HttpRequest) -> HttpResponse:
    """Answer with the view that is open at hosted domains, telling it which one was asked."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return HttpResponseNotFound()
    if match.url_name not in settings.AT_HOSTED_DOMAINS:
        return HttpResponseNotFound()
    answer: HttpResponse = match.func(request, *match.args, hosted=domain, **match.kwargs)
    return answer
