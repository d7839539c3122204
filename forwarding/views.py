"""Email Forwarding: the list, and adding, changing and deleting an address.

And the one page of mailing lists that is open to everybody, by which a member leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import typed
from accounts.forms import ListForm
from accounts.listing import ORDERS, PAGE_SIZE
from accounts.models import Domain, accounts_by_address
from accounts.names import readable_address
from accounts.roles import in_domain
from forwarding import pages
from forwarding.forms import DestinationsForm, OpenForwardForm
from forwarding.models import ForwardingAddress, MailingList
from propagation.progress import before_farewell, clock, farewell, from_when

# Given by plusmail.urls: why the auto-reply of the mailbox of this address is never sent, "" if it
# is, or there is none.
Silenced = Callable[[ForwardingAddress], str]


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def email_forwarding(request: HttpRequest, domain: Domain, *, silenced: Silenced) -> HttpResponse:
    """List the domain's forwarding addresses, and add one; its name may come by the address."""
    name = request.GET.get("local_part", "")
    initial = {"keep_copy": True, "local_part": name} | typed.kept(request)
    form = OpenForwardForm(request.POST or None, initial=initial, domain=domain, by=request.user)
    if request.method == "POST":
        if "another" in request.POST:
            form = form.with_more_boxes()
        elif form.is_valid() and form.save_new():
            local_part = form.cleaned_data["local_part"]
            messages.success(request, _saved(local_part, domain))
            if words := silenced(domain.forwarding_addresses.get(local_part=local_part)):
                messages.warning(request, words)
            return redirect("email_forwarding", domain.name)
    listing = ListForm(request.GET)
    forwards = _listed(domain, listing)
    page = Paginator(forwards, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = pages.rows(domain, list(page.object_list))
    context = {
        "domain": domain,
        "form": form,
        "page": page,
        "rows": rows,
        "moving": any(row.progress.change for row in rows),
        "q": listing.text(),
        "sort": listing.order(),
        "fixed_elsewhere": domain.fixed_account.domain_id != domain.pk,
        "catch_all": ForwardingAddress.objects.filter(domain=domain, local_part="").first(),
    }
    status = 422 if form.errors else 200
    return render(request, "forwarding/email_forwarding.html", context, status=status)


def _listed(domain: Domain, listing: ListForm) -> Any:
    """Return the addresses that were asked for, the catch-all last."""
    order = ORDERS[listing.order()].replace("name", "local_part")
    forwards = domain.forwarding_addresses.prefetch_related("destinations")
    if text := listing.text():
        forwards = forwards.filter(local_part__contains=text.partition("@")[0])
    return forwards.order_by(order, "pk")


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def change_forwarding(
    request: HttpRequest, domain: Domain, forwarding_id: int, *, silenced: Silenced
) -> HttpResponse:
    """Change where an address leads."""
    forwarding = _own(domain, forwarding_id)
    mailbox = accounts_by_address([forwarding.address]).get(forwarding.address)
    leads = [to for to in forwarding.leads_to() if to != forwarding.address]
    form = DestinationsForm(
        request.POST or None,
        initial={"destination": leads, "keep_copy": forwarding.keeps_copy()} | typed.kept(request),
        domain=domain,
        by=request.user,
    )
    if request.method == "POST":
        if "another" in request.POST:
            form = form.with_more_boxes()
        elif form.is_valid() and form.save(forwarding):
            messages.success(request, _saved(forwarding.local_part or "*", domain))
            if words := silenced(forwarding):
                messages.warning(request, words)
            return redirect("email_forwarding", domain.name)
    context = {
        "domain": domain,
        "forwarding": forwarding,
        "form": form,
        "has_mailbox": mailbox,
        "silenced": silenced(forwarding),
        "time": clock(domain.server),
    }
    status = 422 if form.errors else 200
    return render(request, "forwarding/change.html", context, status=status)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def catch_all(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Take the mail for every name that the domain does not have; off until it is set."""
    existing = domain.forwarding_addresses.filter(local_part="").first()
    if existing is not None and not existing.is_leaving():
        return redirect("change_forwarding", domain.name, existing.pk)
    form = DestinationsForm(
        request.POST or None, initial=typed.kept(request), domain=domain, by=request.user
    )
    if request.method == "POST":
        if "another" in request.POST:
            form = form.with_more_boxes()
        elif form.is_valid() and form.save_catch_all():
            messages.success(request, _saved("*", domain))
            return redirect("email_forwarding", domain.name)
    context = {"domain": domain, "form": form, "forwarding": None, "time": clock(domain.server)}
    status = 422 if form.errors else 200
    return render(request, "forwarding/change.html", context, status=status)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def delete_forwarding(request: HttpRequest, domain: Domain, forwarding_id: int) -> HttpResponse:
    """No longer forward an address, after a confirmation."""
    forwarding = _own(domain, forwarding_id)
    error = None
    if request.method == "POST":
        try:
            forwarding.withdraw(by=request.user)
        except ValidationError as reason:
            error = reason
        else:
            messages.success(request, _gone(forwarding))
            return redirect("email_forwarding", domain.name)
    context = {
        "domain": domain,
        "forwarding": forwarding,
        "mailbox": accounts_by_address([forwarding.address]).get(forwarding.address),
        "catch_all": domain.forwarding_addresses.filter(local_part="")
        .exclude(pk=forwarding.pk)
        .first(),
        "leads": [readable_address(to) for to in forwarding.leads_to()],
        "error": error,
        **before_farewell(domain.server, forwarding.key),
    }
    return render(request, "forwarding/delete.html", context, status=422 if error else 200)


# Mail programs and providers send what RFC 8058 says, without a cookie or a page before; what
# guards it is the link's signature.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def leave_list(request: HttpRequest, list_id: int, token: str) -> HttpResponse:
    """Let the member leave for whom the link is; only looking at it (GET) changes nothing."""
    row = MailingList.objects.select_related("domain__server").filter(pk=list_id).first()
    address = row.member_of(token) if row else ""
    if row is None or not address:
        return render(request, "forwarding/leave_unknown.html", status=404)
    leaves = bool({"leave", "List-Unsubscribe"} & request.POST.keys())
    if leaves:
        row.leave(address)
    context = {
        "list": row,
        "address": readable_address(address),
        "is_member": row.has_member(address),
        "leaves": leaves,
        "time": clock(row.domain.server),
    }
    return render(request, "forwarding/leave.html", context)


def _own(domain: Domain, forwarding_id: int) -> ForwardingAddress:
    """Return the address of this domain; 404 for any other."""
    forwarding = get_object_or_404(
        domain.forwarding_addresses.prefetch_related("destinations"), pk=forwarding_id
    )
    forwarding.domain = domain
    return forwarding


def _saved(local_part: str, domain: Domain) -> str:
    """Say from when an address leads where it was led just now."""
    key = f"address:{'' if local_part == '*' else local_part}@{domain.name}"
    later = _("%(address)s will be forwarded like this from about %(time)s.")
    return from_when(domain.server, key, f"{local_part}@{domain}", later)


def _gone(forwarding: ForwardingAddress) -> str:
    """Say when an address goes; one that the server never had is gone already."""
    later = _("%(address)s will no longer be forwarded from about %(time)s.")
    return farewell(forwarding.domain.server, forwarding.key, forwarding, later)
