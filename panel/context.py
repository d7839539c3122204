"""What every page shows, worked out only where a template asks for it."""

from functools import cache
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import Domain
from accounts.names import readable_domain
from propagation.models import MailServer
from propagation.prepared import Prepared
from quota.archiving import weekly

SHOWN_DOMAINS = 20


def every_page(request: HttpRequest) -> dict[str, Any]:
    """Give templates the login's domains, whether a mail server answers, and the delay."""
    return {
        "own_domains": cache(lambda: _own_domains(request)),
        "no_server_answers": cache(lambda: not _any_answers()),
        "missed_archiving": cache(weekly.missed),
        "delay_minutes": max(1, settings.PROPAGATION_DELAY // 60),
    }


def _own_domains(request: HttpRequest) -> tuple[tuple[str, str], ...]:
    """Return the first of the login's domains, one more than a menu shows: stored, and readable."""
    if not request.user.is_authenticated:
        return ()
    names = _domains(login=request.user.pk)
    return tuple((name, readable_domain(name)) for name in names)


@Prepared
def _domains(login: int) -> QuerySet[Domain, str]:
    return Domain.objects.of_login(login).values_list("name", flat=True)[: SHOWN_DOMAINS + 1]


def _any_answers() -> bool:
    return any(server.answers() for server in MailServer.objects.all())
