"""Who may do what: the one place that views and the admin ask.

Another customer's object is a 404 for every method, so that nobody learns that it
exists; a customer whose plan leaves accounts to us sees the page without the buttons.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache

from accounts.models import Account, Domain
from accounts.typed import over_a_login
from accounts.viewers import Right, Viewer, mailbox_user, somebody
from mailhost import grammar
from propagation.models import Change
from propagation.prepared import Prepared

P = ParamSpec("P")
DomainView = Callable[Concatenate[HttpRequest, Domain, P], HttpResponseBase]
ViewerView = Callable[Concatenate[HttpRequest, Viewer, P], HttpResponseBase]
AccountView = Callable[Concatenate[HttpRequest, Viewer, Account, P], HttpResponseBase]


def in_domain(view: DomainView[P]) -> Callable[..., HttpResponseBase]:
    """Give a view the domain named in its address, if this login may look after it.

    Nothing such a page shows may stay in a shared cache or a browser's history.
    """

    @never_cache
    @reload_when_logged_out
    @over_a_login
    @_not_for_mailbox_users
    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, domain: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not grammar.DOMAIN.match(domain):
            # Nor could PostgreSQL look for it: a NUL is an error there.
            raise Http404
        found = _own_domain(login=request.user.pk, name=domain)
        if not found:
            raise Http404
        return view(request, found[0], *args, **kwargs)

    return guarded


def _not_for_mailbox_users(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Say to the user of one mailbox that there is nothing, as to another customer."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if mailbox_user(request) is not None:
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


def for_viewer(
    right: Right, *more: Right
) -> Callable[[ViewerView[P]], Callable[..., HttpResponseBase]]:
    """Give a view the one it is for: the owner of the domain that its address names, or, where
    it names none, the user of a mailbox whom that owner has given all these rights.

    Right.LOGIN says that it is for every user who is logged in. A view so guarded has to keep to
    `viewer.account`; `of_account` does that by itself.
    """

    def decorate(view: ViewerView[P]) -> Callable[..., HttpResponseBase]:
        @in_domain
        def of_owner(request: HttpRequest, domain: Domain, /, **kwargs: Any) -> HttpResponseBase:
            return view(request, Viewer(domain, request.user), **kwargs)  # type: ignore[call-arg]

        @in_mailbox(right, *more)
        def of_user(request: HttpRequest, viewer: Viewer, /, **kwargs: Any) -> HttpResponseBase:
            return view(request, viewer, **kwargs)  # type: ignore[call-arg]

        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            return (of_owner if "domain" in kwargs else of_user)(request, **kwargs)

        return guarded

    return decorate


def of_account(
    right: Right, *more: Right
) -> Callable[[AccountView[P]], Callable[..., HttpResponseBase]]:
    """Give a view who it is for, and the account: the owner's whose id the address has, or the one
    that is the mailbox's user's; see `for_viewer`.
    """

    def decorate(view: AccountView[P]) -> Callable[..., HttpResponseBase]:
        @for_viewer(right, *more)
        def found(
            request: HttpRequest, viewer: Viewer, /, account_id: Any = None, **kwargs: Any
        ) -> HttpResponseBase:
            account = viewer.account
            if account is None:
                accounts = viewer.domain.accounts.select_related("server")
                account = get_object_or_404(accounts, pk=account_id)
            account.domain = viewer.domain
            return view(request, viewer, account, **kwargs)  # type: ignore[call-arg]

        return wraps(view)(found)

    return decorate


def in_mailbox(
    right: Right, *more: Right
) -> Callable[[ViewerView[P]], Callable[..., HttpResponseBase]]:
    """Give a view the user of a mailbox who has logged in and has these rights.

    Strangers are led to the login, all other logins find nothing.
    """

    def decorate(view: ViewerView[P]) -> Callable[..., HttpResponseBase]:
        @never_cache
        @reload_when_logged_out
        @over_a_login
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            user = mailbox_user(request)
            if user is None:
                if request.user.is_authenticated:
                    raise Http404
                return redirect_to_login(request.get_full_path())
            if not all(map(user.may, (right, *more))):
                raise PermissionDenied
            return view(request, Viewer(user.account.domain, user, user), *args, **kwargs)

        return guarded

    return decorate


@Prepared
def _own_domain(login: int, name: str) -> QuerySet[Domain]:
    """Find a domain of this login's customer, with all that its pages show of it."""
    related = "customer", "plan", "server", "fixed_account__domain"
    return Domain.objects.of_login(login).filter(name=name).select_related(*related)


def reload_when_logged_out(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Let a page that updates itself reload as a whole, and so lead to the login."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.headers.get("HX-Request") and not somebody(request):
            return HttpResponse(headers={"HX-Refresh": "true"})
        return view(request, *args, **kwargs)

    return guarded


def may_change_accounts(domain: Domain) -> bool:
    """Whether the domain's owner adds and deletes accounts without asking us (manual, 1.3)."""
    return domain.plan.self_service


def may_take_back(domain: Domain, change: Change) -> bool:
    """Whether the domain's owner may take this pending change back.

    What the operator alone decides is not the owner's to take back: on some plans that an
    account comes or goes, and on all of them its size and the domain itself.
    """
    kind = change.key.partition(":")[0]
    if kind in ("address", "list", "reply"):
        return True
    if kind == "webmail":
        return may_change_accounts(domain)
    if kind != "mailbox":
        # That of a domain's opening cannot be done is for its own words to say.
        return change.creates
    if change.creates or change.removes:
        return may_change_accounts(domain)
    # Besides a new password, which stands in neither of the two, FTP and SSH are the owner's.
    mine = bool(switched(change)) and may_change_accounts(domain)
    return change.before == change.after or mine


def switched(change: Change) -> dict[str, bool]:
    """Return what the change switches on (or off), if it does nothing else but renew a password."""
    before, after = dict(change.before or {}), dict(change.after or {})
    # Records once did not say.
    pairs = {name: (before.pop(name, False), after.pop(name, False)) for name in Account.SWITCHES}
    if before != after or not after:
        return {}
    return {name: bool(has) for name, (had, has) in pairs.items() if had != has}


def require_self_service(domain: Domain) -> None:
    """Raise PermissionDenied where the plan leaves accounts to the operator."""
    if not may_change_accounts(domain):
        raise PermissionDenied
