"""Email Forwarding, mailing lists: all of them, and one with its settings and members."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from accounts import typed
from accounts.forms import ListForm
from accounts.listing import ORDERS, PAGE_SIZE
from accounts.models import Domain
from accounts.names import readable_address
from accounts.roles import in_domain
from forwarding import list_pages
from forwarding.list_forms import AddMembersForm, ListSettingsForm, OpenListForm
from forwarding.models import MAX_MEMBERS, MailingList
from propagation.models import Change
from propagation.progress import before_farewell, clock, farewell, from_when


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def mailing_lists(request: HttpRequest, domain: Domain) -> HttpResponse:
    """List the domain's mailing lists, and make one."""
    initial = {"posters": "members", "owner_address": domain.fixed_account.address}
    form = OpenListForm(
        request.POST or None,
        initial=initial | typed.kept(request),
        by=request.user,
        domain=domain,
    )
    if request.method == "POST" and form.is_valid() and (made := form.save_new()):
        words = _("%(address)s will work from about %(time)s. Now add its members.")
        messages.success(request, words % {"address": made, "time": _time(made)})
        return redirect("mailing_list", domain.name, made.pk)
    listing = ListForm(request.GET)
    lists = domain.mailing_lists.with_counts().order_by(_order(listing, "local_part"), "pk")
    if text := listing.text():
        lists = lists.filter(local_part__contains=text.partition("@")[0])
    page = Paginator(lists, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = list_pages.rows(domain, list(page.object_list))
    context = {
        "domain": domain,
        "form": form,
        "page": page,
        "rows": rows,
        "moving": any(row.progress.change for row in rows),
        "q": text,
        "sort": listing.order(),
        "most": f"{MAX_MEMBERS:,}",
    }
    status = 422 if form.errors else 200
    return render(request, "forwarding/lists.html", context, status=status)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def mailing_list(request: HttpRequest, domain: Domain, list_id: int) -> HttpResponse:
    """Show one list with its members; add some, or take some out."""
    row = _own(domain, list_id)
    form = AddMembersForm(initial=typed.kept(request))
    if request.method == "POST" and "members" in request.POST:
        form = AddMembersForm(request.POST)
        if form.is_valid() and (added := form.save(row, by=request.user)) is not None:
            messages.success(request, _added(row, added, len(form.pasted.addresses) - added))
            if not form.pasted.wrong:
                return redirect("mailing_list", domain.name, row.pk)
            form = form.with_the_rest()
    elif request.method == "POST":
        _remove(request, row)
        return redirect(f"{request.path}?{request.GET.urlencode()}")
    listing = ListForm(request.GET)
    members = row.members.filter(left_at=None)
    if text := listing.text():
        members = members.filter(lowered__contains=text)
    page = Paginator(members.order_by(_order(listing, "lowered", "joined_at"), "pk"), PAGE_SIZE)
    shown = page.get_page(request.GET.get("page"))
    context = {
        "domain": domain,
        "list": row,
        "form": form,
        "page": shown,
        "q": text,
        "sort": listing.order(),
        "most": f"{MAX_MEMBERS:,}",
        **list_pages.one(row, list(shown.object_list)),
    }
    status = 422 if form.errors or form.pasted.wrong else 200
    return render(request, "forwarding/list.html", context, status=status)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def change_list(request: HttpRequest, domain: Domain, list_id: int) -> HttpResponse:
    """Change a list's name, its owner, or who may write to it."""
    row = _own(domain, list_id)
    initial = {
        "title": row.title,
        "owner_address": row.owner_address,
        "posters": row.posters,
    }
    form = ListSettingsForm(
        request.POST or None, initial=initial | typed.kept(request), by=request.user
    )
    if request.method == "POST" and form.is_valid() and form.save(row):
        messages.success(request, _changed(row))
        return redirect("mailing_list", domain.name, row.pk)
    context = {"domain": domain, "list": row, "form": form, "time": clock(domain.server)}
    status = 422 if form.errors else 200
    return render(request, "forwarding/list_settings.html", context, status=status)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def delete_list(request: HttpRequest, domain: Domain, list_id: int) -> HttpResponse:
    """Delete a list, after a confirmation that says what is lost."""
    row, error = _own(domain, list_id), None
    members = row.addresses()
    if request.method == "POST":
        try:
            row.withdraw(by=request.user)
        except ValidationError as reason:
            error = reason
        else:
            messages.success(request, _gone(row))
            return redirect("mailing_lists", domain.name)
    context = {
        "domain": domain,
        "list": row,
        "members": members,
        "copy": "\n".join(map(readable_address, members)),
        "catch_all": domain.forwarding_addresses.filter(local_part="").first(),
        "error": error,
        **before_farewell(domain.server, row.key),
    }
    return render(request, "forwarding/list_delete.html", context, status=422 if error else 200)


def _own(domain: Domain, list_id: int) -> MailingList:
    """Return the list of this domain; 404 for any other."""
    row: MailingList = get_object_or_404(domain.mailing_lists, pk=list_id)
    row.domain = domain
    return row


def _order(listing: ListForm, name: str, created: str = "created_at") -> str:
    return ORDERS[listing.order()].replace("name", name).replace("created_at", created)


def _remove(request: HttpRequest, row: MailingList) -> None:
    """Take out the member whose button was pressed, or else those that are ticked."""
    sent = request.POST.getlist("one") or request.POST.getlist("member")
    ids = [int(text) for text in sent if text.isascii() and text.isdigit() and len(text) < 19]
    try:
        removed = row.remove(ids, by=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return
    if not removed:
        messages.warning(request, _("No member was chosen."))
        return
    words = ngettext(
        "%(count)d member gets no more mail of the list from about %(time)s.",
        "%(count)d members get no more mail of the list from about %(time)s.",
        removed,
    )
    messages.success(request, words % {"count": removed, "time": _time(row)})


def _added(row: MailingList, added: int, before: int) -> str:
    """Say how many members are new, and how many were none the less."""
    words = ngettext(
        "%(count)d new member gets the list's mail from about %(time)s.",
        "%(count)d new members get the list's mail from about %(time)s.",
        added,
    ) % {"count": added, "time": _time(row)}
    if not added:
        words = _("No new member.")
    if before:
        known = ngettext(
            "%(count)d was a member already.", "%(count)d were members already.", before
        )
        words = f"{words} {known % {'count': before}}"
    return words


def _time(row: MailingList) -> str:
    """Return from when the last edit counts."""
    change = Change.objects.pending().of(row.domain.server_id, [row.key]).first()
    return clock(row.domain.server, change.due_at if change else None)


def _changed(row: MailingList) -> str:
    later = _("The settings of %(address)s count from about %(time)s.")
    return from_when(row.domain.server, row.key, row, later)


def _gone(row: MailingList) -> str:
    """Say when a list goes; one that the server never had is gone already."""
    later = _("The mailing list %(address)s will be deleted at about %(time)s.")
    return farewell(row.domain.server, row.key, row, later)
