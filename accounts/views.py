"""The User Manager, and the login to the panel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from django.contrib import messages
from django.contrib.auth.views import LoginView
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import names, passwords, typed
from accounts.forms import ListForm, LoginForm, OpenAccountForm, OwnPasswordForm, PasswordForm
from accounts.languages import remember
from accounts.listing import PAGE_SIZE, Accounts
from accounts.models import NAME_TAKEN_WORDS, Account, Domain, User, mailbox_key
from accounts.roles import in_domain, may_change_accounts, of_account, require_self_service
from accounts.rows import FillLike, Row, draw
from accounts.viewers import Right, Viewer
from propagation.progress import clock, progress_of


class ReachLike(Protocol):
    """How mail gets to a mailbox, as the list shows it."""

    @property
    def addresses(self) -> list[str]:
        """The addresses that lead to it."""

    @property
    def passed_by(self) -> bool:
        """Whether mail for its own address goes elsewhere without a copy."""


# Reach, Fills, Offer and More are given by plusmail.urls: how mail gets to each mailbox of a page,
# how full each is (by account id; one without a figure is left out), what another app can offer
# where a name is taken, and how there come to be more accounts where all are in use.
Reach = Callable[[Domain, Collection[str]], Mapping[str, ReachLike]]
Fills = Callable[[Collection[Any]], Mapping[Any, FillLike]]


@dataclass(frozen=True, slots=True)
class Offered:
    """What can be done where a name is taken: another `name`, or it works already."""

    name: str = ""
    leads_to: list[str] = field(default_factory=list)


Offer = Callable[[Domain, str], Offered]
More = Callable[[Domain], object]


class PanelLoginView(LoginView):
    """Log in; the language chosen in an earlier session comes back with it."""

    template_name = "accounts/login.html"
    form_class = LoginForm
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """Log the user in and remember the language."""
        response = super().form_valid(form)
        user = form.get_user()
        if isinstance(user, User) and user.language:
            remember(response, user.language)
        return response


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def user_manager(
    request: HttpRequest, domain: Domain, *, reach: Reach, fills: Fills, offer: Offer, more: More
) -> HttpResponse:
    """List the domain's accounts, and add one."""
    form = OpenAccountForm(
        request.POST or None, initial=typed.kept(request), domain=domain, by=request.user
    )
    taken = mailbox = ""
    if request.method == "POST":
        require_self_service(domain)
        if "generate" in request.POST:
            mailbox = request.POST.get("mailbox", "")
            form = with_generated_password(form, OpenAccountForm, domain=domain, by=request.user)
            taken = names.possible_name(request.POST.get("taken", ""))
        elif form.is_valid() and (account := form.save()):
            words = will_work(account)
            messages.success(request, with_settings(words, domain, account.name))
            return redirect("user_manager", domain.name)
    return render_user_manager(
        request,
        domain,
        form,
        reach=reach,
        fills=fills,
        offer=offer,
        more=more,
        taken=taken,
        mailbox=mailbox,
    )


def render_user_manager(
    request: HttpRequest,
    domain: Domain,
    form: OpenAccountForm,
    *,
    reach: Reach,
    fills: Fills,
    offer: Offer,
    more: More,
    taken: str = "",
    mailbox: str = "",
    assisting: bool = False,
) -> HttpResponse:
    """Return the page. `taken` is the name for which an offer is to stay on it, `mailbox` the
    name typed there; where the offer was taken (`assisting`), it is the form's own name."""
    listing = ListForm(request.GET)
    page = _page(domain, listing, request.GET.get("page"))
    taken = taken or form.taken_name()
    rows = _rows(domain, page, reach, fills)
    used = page.paginator.count if not listing.text() else domain.accounts.count()
    full = used >= domain.account_limit
    return render(
        request,
        "accounts/user_manager.html",
        {
            "domain": domain,
            "form": form,
            "taken": taken,
            "offered": offer(domain, taken) if taken and not full else Offered(),
            "mailbox": form["name"].value() if assisting else mailbox,
            "assisting": assisting,
            "taken_errors": [NAME_TAKEN_WORDS] if taken else [],
            "own_account": bool(taken) and domain.accounts.filter(name=taken).exists(),
            "page": page,
            "rows": draw(rows, domain, request),
            "moving": any(row.progress.change for row in rows),
            "used": used,
            "full": full,
            "more": more(domain) if full else None,
            "self_service": may_change_accounts(domain),
            "q": listing.text(),
            "sort": listing.order(),
        },
        status=200 if not form.errors else 422,
    )


@of_account(Right.PASSWORD)
@require_http_methods(["GET", "HEAD", "POST"])
def change_password(request: HttpRequest, viewer: Viewer, account: Account) -> HttpResponse:
    """Give an account another password; the page says from when it counts."""
    kind: Any = PasswordForm
    if viewer.mailbox:
        kind = partial(OwnPasswordForm, account=account)
    form = kind(request.POST or None)
    if request.method == "POST":
        if "generate" in request.POST:
            form = with_generated_password(form, kind)
        elif form.is_valid() and form.save(account, by=viewer.by):
            if viewer.mailbox:
                viewer.mailbox.password_changed(request)
            messages.success(
                request,
                _(
                    "The new password of %(name)s takes effect at about %(time)s. Until then the "
                    "present one works."
                )
                % {"name": account.name, "time": clock(account.server)},
            )
            return redirect("mailbox_home" if viewer.mailbox else viewer.url("user_manager"))
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "account": account,
        "form": form,
        "time": clock(account.server),
    }
    return render(request, "accounts/password.html", context, status=422 if form.errors else 200)


def with_generated_password(form: Any, kind: Any, **kwargs: Any) -> Any:
    """Return the form again with what was typed, and a fresh password to copy."""
    initial = {name: form.data.get(name, "") for name in form.fields if name != "present"}
    fresh = kind(initial={**initial, "password": passwords.generate()}, **kwargs)
    fresh.fields["password"].show()
    fresh.generated = True
    return fresh


def will_work(account: Account) -> str:
    """Say from when a new account works."""
    return _("%(address)s will work from about %(time)s.") % {
        "address": account,
        "time": clock(account.server),
    }


def with_settings(words: str, domain: Domain, local_part: str) -> SafeString:
    """Return news of an address, followed by the way to what a mail program needs for it."""
    path = reverse("client_settings", args=[domain.name, local_part])
    return format_html('{} <a href="{}">{}</a>', words, path, _("Mail program settings"))


def _page(domain: Domain, listing: ListForm, number: str | None) -> Page[Any]:
    """Return the part of the list that was asked for; a number too high gives the last one."""
    accounts: Any = Accounts(domain, listing)
    return Paginator(accounts, PAGE_SIZE).get_page(number)


def _rows(domain: Domain, page: Page[Any], reach: Reach, fills: Fills) -> list[Row]:
    """Put together what the list shows, in a fixed number of queries."""
    accounts = page.object_list
    keys = {account.name: mailbox_key(account.name) for account in accounts}
    progress = progress_of(domain.server_id, list(keys.values()))
    reached = reach(domain, keys)
    filled = fills([account.pk for account in accounts])
    return [
        Row(
            account=account,
            domain=domain,
            progress=progress[keys[account.name]],
            addresses=sorted(reached[account.name].addresses),
            passed_by=reached[account.name].passed_by,
            fill=filled.get(account.pk),
        )
        for account in accounts
    ]
