"""What every page shows, worked out only where a template asks for it."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Domain
from propagation.models import MailServer
from quota.archiving import weekly

SHOWN_DOMAINS = 20


def every_page(request: HttpRequest) -> dict[str, Any]:
    """Give templates the login's domains, whether a mail server answers, and the delay."""
    return {
        "own_domains": SimpleLazyObject(lambda: _own_domains(request)),
        "no_server_answers": SimpleLazyObject(lambda: not _any_answers()),
        "missed_archiving": SimpleLazyObject(weekly.missed),
        "delay_minutes": max(1, settings.PROPAGATION_DELAY // 60),
    }


def _own_domains(request: HttpRequest) -> list[Domain]:
    """Return the first of the login's domains, one more than a menu shows."""
    return list(Domain.objects.visible_to(request.user).only("name")[: SHOWN_DOMAINS + 1])


def _any_answers() -> bool:
    return any(server.answers() for server in MailServer.objects.all())
