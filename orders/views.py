"""The pages of options and orders, and “Contact us”."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts import names, typed
from accounts.models import Domain, mailbox_key
from accounts.roles import in_domain, may_change_accounts, require_self_service
from orders.forms import ContactForm, OrderForm
from orders.models import Inquiry, Option, OptionKind, Order, OrderState
from orders.models.orders import MOST_AT_ONCE, limit_of
from orders.tasks import send_inquiries
from propagation.progress import Progress, progress_of

PAGE_SIZE = 30
SHOWN_INQUIRIES = 5
# Accounts that the page of an order offers to choose from; any can be typed.
_NAMED = 300


@dataclass(frozen=True, slots=True)
class Line:
    """An order as the page lists it; `progress`: its account's, as long as something moves."""

    order: Order
    progress: Progress | None


@in_domain
@require_safe
def options(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Show what can be ordered and for how much, and what became of the orders."""
    page = Paginator(domain.orders.all(), PAGE_SIZE).get_page(request.GET.get("page"))
    lines = _lines(domain, list(page.object_list))
    context = {
        "domain": domain,
        "options": Option.objects.offered(),
        "page": page,
        "lines": lines,
        "moving": any(line.progress for line in lines),
        "used": domain.accounts.count(),
        "accounts_asked": _open_for_accounts(domain) is not None,
        "self_service": may_change_accounts(domain),
    }
    return render(request, "orders/options.html", context)


def _lines(domain: Domain, orders: list[Order]) -> list[Line]:
    """Add what is on its way to the mail server because of an order."""
    granted = [one for one in orders if one.state == OrderState.GRANTED and one.account_name]
    keys = {one.pk: mailbox_key(one.account_name) for one in granted}
    progress = progress_of(domain.server_id, list(set(keys.values())))
    return [
        Line(one, _moving(one, progress[keys[one.pk]]) if one.pk in keys else None)
        for one in orders
    ]


def _moving(order: Order, progress: Progress) -> Progress | None:
    """Return how it stands with the account, if it is this order's limit that is on its way."""
    change = progress.change
    limit = order.of.limit
    if change is None or change.removes or change.before is None:
        return None
    moves = change.before.get(limit) != (change.after or {}).get(limit)
    return progress if moves else None


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def order(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Order an option, which the query string names, with its price before one's eyes."""
    option = _option(request)
    if option is None:
        messages.warning(request, _("This option is no longer offered."))
        return redirect("orders_options", domain.name)
    initial = {"quantity": 1, "account": request.GET.get("account", ""), **typed.kept(request)}
    form = OrderForm(request.POST or None, initial=initial, domain=domain, option=option)
    if request.method == "POST":
        require_self_service(domain)
        if form.is_valid() and (made := form.save(by=request.user)):
            words = _("You have ordered: %(what)s. We look at it; here you see what becomes of it.")
            messages.success(request, words % {"what": made})
            return redirect("orders_options", domain.name)
        # What was refused because of its price is shown with the one of now.
        option.refresh_from_db()
    context = {
        "domain": domain,
        "option": option,
        "form": form,
        "most": MOST_AT_ONCE,
        "used": domain.accounts.count(),
        "now": _limit_now(option, domain, form),
        "accounts": domain.accounts.order_by("name").values_list("name", flat=True)[:_NAMED],
        "self_service": may_change_accounts(domain),
    }
    return render(request, "orders/order.html", context, status=422 if form.errors else 200)


def _option(request: HttpRequest) -> Option | None:
    """Return the offer that was chosen; without a choice the first one."""
    chosen = request.GET.get("option", "")
    offered = Option.objects.offered()
    if not chosen:
        return offered.first()
    if not chosen.isascii() or not chosen.isdigit() or len(chosen) > 18:
        raise Http404
    return offered.filter(pk=int(chosen)).first()


def _limit_now(option: Option, domain: Domain, form: OrderForm) -> str:
    """Say what the limit is that the order would raise; "" where no account is named yet."""
    kind = OptionKind(option.kind)
    if not kind.of_an_account:
        return ""
    name = names.possible_name(str(form["account"].value() or ""))
    account = domain.accounts.select_related("domain__plan").filter(name=name or None).first()
    return kind.figure(limit_of(kind, account)) if account else ""


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def take_back(request: HttpRequest, domain: Domain, order_id: int) -> HttpResponse:
    """Take an order back that the operator has not decided on.

    On every plan: to want something no longer needs no self-service.
    """
    own = get_object_or_404(domain.orders, pk=order_id)
    if request.method == "POST":
        try:
            own.take_back(by=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, _("Taken back: %(what)s.") % {"what": own})
        return redirect("orders_options", domain.name)
    return render(request, "orders/take_back.html", {"domain": domain, "order": own})


@dataclass(frozen=True, slots=True)
class OneMore:
    """How a domain whose accounts are all in use gets one more; without `option` by asking us."""

    option: Option | None
    asked: Order | None


def one_more(domain: Domain) -> OneMore:
    """Return what the User Manager offers at its limit."""
    return OneMore(Option.objects.one_more_account(), _open_for_accounts(domain))


def _open_for_accounts(domain: Domain) -> Order | None:
    return domain.orders.asked().filter(kind=OptionKind.ACCOUNT).first()


def _subjects() -> dict[str, str]:
    """Return what the pages that lead to “Contact us” are about, by their word for it."""
    return {
        "accounts": _("POP accounts"),
        "options": _("Options"),
        "webmail": _("Webmail"),
        "ftp": "FTP",
        "ssh": "SSH",
    }


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def contact_us(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Write to the operator, from the fixed address unless another one is entered."""
    subject = _subjects().get(request.GET.get("about", ""), "")
    fixed = names.readable_address(domain.fixed_address)
    initial = {"sender": fixed, "subject": subject, **typed.kept(request)}
    form = ContactForm(request.POST or None, initial=initial, domain=domain)
    if request.method == "POST" and form.is_valid() and (kept := form.save(by=request.user)):
        if settings.CONTACT_ADDRESS:
            transaction.on_commit(send_inquiries.delay, robust=True)
        words = _("We have your message, and answer to %(address)s.")
        messages.success(request, words % {"address": names.readable_address(kept.sender)})
        return redirect("contact", domain.name)
    own = Inquiry.objects.filter(domain=domain)[:SHOWN_INQUIRIES]
    context: dict[str, Any] = {"domain": domain, "form": form, "fixed": fixed, "inquiries": own}
    return render(request, "orders/contact.html", context, status=_status(form))


def _status(form: ContactForm) -> int:
    if form.often:
        return 429
    return 422 if form.errors else 200
