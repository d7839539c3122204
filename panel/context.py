"""What every page shows, worked out only where a template asks for it."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Domain
from propagation.models import MailServer
from propagation.prepared import Prepared

SHOWN_DOMAINS = 20


def every_page(request: HttpRequest) -> dict[str, Any]:
    """Give templates the login's domains, whether a mail server answers, and the delay."""
    return {
        "own_domains": SimpleLazyObject(lambda: _own_domains(request)),
        "no_server_answers": SimpleLazyObject(lambda: not _any_answers()),
        "delay_minutes": max(1, settings.PROPAGATION_DELAY // 60),
    }


def _own_domains(request: HttpRequest) -> list[Domain]:
    """Return the first of the login's domains, one more than a menu shows."""
    if not request.user.is_authenticated:
        return []
    return _domains(login=request.user.pk)


@Prepared
def _domains(login: int) -> QuerySet[Domain]:
    return Domain.objects.of_login(login).only("name")[: SHOWN_DOMAINS + 1]


def _any_answers() -> bool:
    return any(server.answers() for server in MailServer.objects.all())
