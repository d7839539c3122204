"""What somebody typed into a form that could not be taken, kept until the form opens again.

That happens where the login had ended meanwhile, or the form's token was no longer good.
It waits in a cookie of the same browser, signed, for the form's own address; never a password.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from accounts.viewers import somebody

COOKIE = "typed"
SECONDS = 10 * 60
LONGEST = 3000  # what a browser takes in one cookie is 4096 with all around it
TEXTS = (
    *("name", "local_part", "title", "owner_address", "posters", "members"),
    *("sender", "subject", "text", "account", "quantity"),
)


def keep(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Keep what was sent for the form at this address; return whether there was anything."""
    sent = request.POST
    fields: dict[str, Any] = {name: sent[name] for name in TEXTS if name in sent}
    if "destination" in sent:
        fields["destination"] = sent.getlist("destination")[: settings.DESTINATIONS_PER_ADDRESS]
        fields["keep_copy"] = "keep_copy" in sent
    held = signing.dumps({"path": request.path, "fields": fields}, salt=COOKIE, compress=True)
    if not fields or len(held) > LONGEST:
        return False
    response.set_cookie(
        COOKIE,
        held,
        max_age=SECONDS,
        path=request.path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return True


def kept(request: HttpRequest) -> dict[str, Any]:
    """Return what was kept for the form at this address, as the form's initial values."""
    try:
        held = signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=SECONDS)
    except signing.BadSignature:
        return {}
    fields: dict[str, Any] = held["fields"] if held["path"] == request.path else {}
    return fields


def over_a_login(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Keep what is sent without a login, and forget it once its form was open again."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if not somebody(request) and request.method == "POST":
            keep(request, response)
            words = _(
                "Your login had ended, so what you sent was not saved. Please log in and send it "
                "again; passwords have to be entered anew."
            )
            messages.warning(request, words)
        elif COOKIE in request.COOKIES and somebody(request):
            response.delete_cookie(COOKIE, path=request.path)
        return response

    return guarded
