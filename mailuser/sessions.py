"""Who is logged in as the user of one mailbox: known by the session alone, without a login's row.

Each request judges anew: a session counts no more once the account is gone or being deleted, has
another password, or its owner has taken the right to log in away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponseBase
from django.middleware.csrf import rotate_token
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.functional import SimpleLazyObject

from accounts.models import Account
from accounts.viewers import Right
from mailuser.models import Preference, Rights, rights_of
from propagation.models import Change

_ACCOUNT, _MARK = "mailbox_account", "mailbox_mark"


class MailboxUser:
    """The user of one mailbox; see accounts.viewers.MailboxUserLike."""

    # What Django asks of whoever authenticates.
    is_authenticated = is_active = True
    is_staff = is_superuser = False
    pk = None

    def __init__(self, account: Account, *, alone: bool = True) -> None:
        """Take the account, with its domain; not `alone`: others share the name that was typed."""
        self.account = account
        self.alone = alone

    @cached_property
    def rights(self) -> Rights:
        """What the domain's owner lets him do."""
        return rights_of(self.account)

    def may(self, right: Right) -> bool:
        """Say whether the domain's owner lets him do it."""
        return self.rights.allow(right)

    def is_leaving(self) -> bool:
        """Say whether the account is being deleted."""
        return bool(Change.objects.leaving(self.account.server, [self.account.key]))

    def get_username(self) -> str:
        """Return his name in trails: the mailbox's address."""
        return self.account.address

    @property
    def language(self) -> str:
        """The language that he chose last, "" if none."""
        found = Preference.objects.filter(account=self.account).first()
        return found.language if found else ""

    def remember_language(self, language: str) -> None:
        """Keep the language for his next login."""
        values = {"language": language}
        Preference.objects.update_or_create(account=self.account, defaults=values)

    def password_changed(self, request: HttpRequest) -> None:
        """Let this session live on; all others of the mailbox end with the password."""
        self.account.refresh_from_db(fields=["password_hash"])
        request.session[_MARK] = _mark(self.account)
        request.session.cycle_key()


def _mark(account: Account) -> str:
    """Return what ties a session to a password: it tells nothing of it, nor of the hash."""
    return salted_hmac(
        "mailuser.sessions", f"{account.pk} {account.password_hash}", algorithm="sha256"
    ).hexdigest()


def log_in(request: HttpRequest, user: MailboxUser) -> None:
    """Begin a session of this user, with nothing in it of whoever had the browser before."""
    request.session.flush()
    request.session[_ACCOUNT] = str(user.account.pk)
    request.session[_MARK] = _mark(user.account)
    rotate_token(request)
    request.mailbox_user = user  # type: ignore[attr-defined]


def current(request: HttpRequest) -> MailboxUser | None:
    """Return who is logged in as a mailbox's user, if the session still counts."""
    held = request.session.get(_ACCOUNT)
    if not held or SESSION_KEY in request.session:
        return None
    related = "domain__customer", "domain__plan", "domain__server", "server"
    account = Account.objects.select_related(*related).filter(pk=held).first()
    if account is None:
        return None
    account.domain.server = account.server
    if not constant_time_compare(str(request.session.get(_MARK, "")), _mark(account)):
        return None
    user = MailboxUser(account)
    return user if user.may(Right.LOGIN) and not user.is_leaving() else None


class MailboxUserMiddleware:
    """Hangs the mailbox's user on the request; who he is, is looked up where it is asked for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Take what comes after."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Let the request know its user, and go on."""
        looked_up: Any = SimpleLazyObject(lambda: current(request))
        request.mailbox_user = looked_up  # type: ignore[attr-defined]
        return self._get_response(request)
