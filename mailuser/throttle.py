"""Guessing at the panel's login: what is counted beyond a login from one place.

axes counts each login (an address or a name, as typed) from each place by itself. Whoever tries
one password at many logins, or comes from many places, stays below that limit; so all wrong
passwords from a place, and all for a login, have limits of their own. They are higher, since an
office has many people and an owner must not be shut out by a stranger's few tries.
"""

from __future__ import annotations

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_ip_address, get_client_username
from axes.models import AccessAttempt
from django.db.models import Sum
from django.http import HttpRequest

#: Wrong passwords within axes' cool-off: from one place, and for one login from everywhere.
MOST_FROM_A_PLACE = 60
MOST_FOR_A_LOGIN = 150


class LoginThrottle(AxesDatabaseHandler):  # type: ignore[misc]
    """What axes asks whether somebody may try."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, str] | None = None) -> bool:
        """Say whether this try is one too many, by any of the counts."""
        if super().is_locked(request, credentials):
            return True
        name = get_client_username(request, credentials)
        place = get_client_ip_address(request)
        locked = _failures(request, ip_address=place) >= MOST_FROM_A_PLACE or (
            bool(name) and _failures(request, username=name) >= MOST_FOR_A_LOGIN
        )
        if locked:
            # Said by axes' middleware, which looks at its own count alone.
            request.axes_locked_out = True  # type: ignore[attr-defined]
        return locked


def _failures(request: HttpRequest, **whose: str | None) -> int:
    recent = AccessAttempt.objects.filter(
        attempt_time__gte=get_cool_off_threshold(request), **whose
    )
    return recent.aggregate(count=Sum("failures_since_start"))["count"] or 0
