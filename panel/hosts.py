"""Which host names the panel answers to.

The panel itself has one address (PANEL_URL, and ALLOWED_HOSTS beside it). Every
hosted domain answers too, but only at the address that the manual gives,
/cgi-bin/plusmail, which leads to the panel and takes nothing from the query string:
the old program could be given a password there (CVE-2000-0074).
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseNotFound
from django.http.request import split_domain_port, validate_host

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
        if not _is_hosted(host):
            return HttpResponseBadRequest()
        if request.path.rstrip("/") == OLD_ADDRESS:
            return to_the_panel(request)
        return HttpResponseNotFound()


def panel_hosts() -> list[str]:
    """Return the names at which the panel itself answers."""
    own = urlsplit(settings.PANEL_URL).hostname
    return [*settings.PANEL_HOSTS, *([own] if own else [])]


def client_address(request: HttpRequest) -> str:
    """Return where a request comes from, for the count of failed logins.

    Behind our own proxy that is the last address it wrote; whatever a client put in
    front of it is not believed.
    """
    if settings.BEHIND_PROXY:
        return str(request.headers.get("X-Forwarded-For", "")).rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def _is_hosted(host: str) -> bool:
    """Whether a domain on record, or www. of it, was asked for."""
    return bool(host) and Domain.objects.filter(name=host.removeprefix("www.")).exists()
