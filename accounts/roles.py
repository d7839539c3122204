"""Who may do what: the one place that views and the admin ask.

Another customer's object is a 404 for every method, so that nobody learns that it
exists; a customer whose plan leaves accounts to us sees the page without the buttons.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.cache import never_cache

from accounts.models import Account, Domain
from accounts.typed import over_a_login
from mailhost import grammar
from propagation.models import Change
from propagation.prepared import Prepared

P = ParamSpec("P")
DomainView = Callable[Concatenate[HttpRequest, Domain, P], HttpResponseBase]


def in_domain(view: DomainView[P]) -> Callable[..., HttpResponseBase]:
    """Give a view the domain named in its address, if this login may look after it.

    Nothing such a page shows may stay in a shared cache or a browser's history.
    """

    @never_cache
    @reload_when_logged_out
    @over_a_login
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
        if request.headers.get("HX-Request") and not request.user.is_authenticated:
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
    if kind in ("address", "list"):
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
