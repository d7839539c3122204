"""The reader's language: chosen once, kept with the login and in a cookie."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import check_for_language
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.viewers import mailbox_user


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Remember the language for this browser and this login, and return to the page."""
    back = request.POST.get("next", "/")
    response = HttpResponseRedirect(back if is_own_path(back) else "/")
    language = request.POST.get("language", "")
    if language in dict(settings.LANGUAGES) and check_for_language(language):
        remember(response, language)
        if isinstance(request.user, User):
            User.objects.filter(pk=request.user.pk).update(language=language)
        elif user := mailbox_user(request):
            user.remember_language(language)
    return response


def is_own_path(path: str) -> bool:
    """Whether a page to return to is one of the panel's own, given as a plain path."""
    return path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)


def remember(response: HttpResponse, language: str) -> None:
    """Keep the language in a cookie for a year."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=365 * 24 * 60 * 60,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
