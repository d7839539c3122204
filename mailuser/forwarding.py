"""The page on which a mailbox's user forwards his own mail, with or without a copy.

It is the forwarding address of the mailbox's own name: the same that the domain's owner sees, with
the same rules.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import typed
from accounts.models import Account
from accounts.roles import in_mailbox
from accounts.viewers import Right, Viewer
from forwarding.forms import DestinationsForm
from forwarding.models import ForwardingAddress
from mailuser import standing
from propagation.progress import clock, farewell, from_when, progress_of


class OwnForm(DestinationsForm):
    """Where his mail goes; of others' addresses it says nothing."""

    def _put(self, error: ValidationError) -> None:
        if getattr(error, "code", "") == "loop":
            # The way round may lead over addresses that are not his to know.
            error = ValidationError(_("Mail would go round in a circle."), code="loop")
        super()._put(error)


@in_mailbox(Right.FORWARD)
@require_http_methods(["GET", "HEAD", "POST"])
def own_forwarding(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Show where the mailbox's mail goes besides, and change it."""
    account = viewer.account
    assert account is not None  # noqa: S101 (in_mailbox lets nobody else in)
    row = ForwardingAddress.objects.of_mailbox(account)
    form = _form(request, viewer, row)
    if request.method == "POST":
        if "another" in request.POST:
            form = form.with_more_boxes()
        elif "stop" in request.POST:
            return _stop(request, viewer, row)
        elif form.is_valid() and (form.save(row) if row else form.save_at(account.name)):
            later = _("%(address)s will be forwarded like this from about %(time)s.")
            said = from_when(viewer.domain.server, _key(account), account, later)
            messages.success(request, said)
            return redirect("mailbox_forwarding")
    context = _context(viewer, account, row) | {"form": form}
    status = 422 if form.errors else 200
    return render(request, "mailuser/forwarding.html", context, status=status)


def _form(request: HttpRequest, viewer: Viewer, row: ForwardingAddress | None) -> OwnForm:
    """Return the form with what was sent, or else what is so."""
    leads = [to for to in row.leads_to() if to != row.address] if row else []
    initial = {"destination": leads or [""], "keep_copy": row.keeps_copy() if row else True}
    initial |= typed.kept(request)
    return OwnForm(request.POST or None, initial=initial, domain=viewer.domain, by=viewer.by)


def _context(viewer: Viewer, account: Account, row: ForwardingAddress | None) -> dict[str, Any]:
    """Return what the page shows beside its form."""
    key = _key(account)
    progress = progress_of(account.server_id, [key])[key]
    return {
        "viewer": viewer,
        "domain": viewer.domain,
        "account": account,
        "row": row,
        "progress": progress,
        "stage": standing.of_forwarding(row, progress),
        "silenced": standing.silenced(row),
        "time": clock(account.server),
    }


def _key(account: Account) -> str:
    """Return the key of the record of the mailbox's own address."""
    return f"address:{account.address}"


def _stop(request: HttpRequest, viewer: Viewer, row: ForwardingAddress | None) -> HttpResponse:
    """Forward no more: mail stays in the mailbox alone."""
    if row is not None:
        try:
            row.withdraw(by=viewer.by)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            later = _("%(address)s will no longer be forwarded from about %(time)s.")
            said = farewell(viewer.domain.server, row.key, row, later)
            messages.success(request, said)
    return redirect("mailbox_forwarding")
