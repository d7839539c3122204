"""The page of a mailbox's auto-reply, for its user and for the domain's owner."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.forms import PageForm, add_model_errors
from accounts.models import Account
from accounts.roles import of_account
from accounts.viewers import Right, Viewer
from forwarding.models import ForwardingAddress
from mailhost import grammar
from mailhost.records import MAX_REPLIES_AN_HOUR, MAX_REPLY_DAYS
from mailuser import standing
from mailuser.models import AutoReply, reply_key
from propagation.progress import clock, from_when, progress_of


class ReplyForm(PageForm, forms.ModelForm):  # type: ignore[type-arg]
    """What is answered, and when; the rules are the model's."""

    # Not limited here: lines end with two characters in what browsers send.
    text = forms.CharField(strip=False)

    class Meta:
        model = AutoReply
        fields = ["on", "subject", "text", "starts", "ends", "days"]

    def save_by(self, by: Any) -> bool:
        """Let the account answer so, or put the reason why not on the form."""
        try:
            AutoReply.objects.write(self.instance.account, by=by, **self.cleaned_data)
        except ValidationError as error:
            add_model_errors(self, error)
            return False
        return True


@of_account(Right.REPLY)
@require_http_methods(["GET", "HEAD", "POST"])
def auto_reply(request: HttpRequest, viewer: Viewer, account: Account) -> HttpResponse:
    """Show what a mailbox answers by itself, and change it."""
    form = ReplyForm(request.POST or None, instance=AutoReply.objects.of(account))
    if request.method == "POST" and form.is_valid() and form.save_by(viewer.by):
        messages.success(request, _said(account))
        return redirect(viewer.url("auto_reply", account.pk))
    # Anew: a form writes what it was given into its own.
    row, key = AutoReply.objects.of(account), reply_key(account.name)
    progress = progress_of(account.server_id, [key])[key]
    forwarding = ForwardingAddress.objects.of_mailbox(account)
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "account": account,
        "form": form,
        "row": row,
        "progress": progress,
        "stage": standing.of_reply(row, progress),
        "days": standing.days_of(row),
        "silenced": standing.silenced(forwarding),
        "forwarding": forwarding,
        "time": clock(account.server),
        "most_days": MAX_REPLY_DAYS,
        "first_day": grammar.FIRST_DAY,
        "last_day": grammar.LAST_DAY,
        "most_an_hour": MAX_REPLIES_AN_HOUR,
    }
    return render(request, "mailuser/reply.html", context, status=422 if form.errors else 200)


def _said(account: Account) -> str:
    """Say from when what was saved counts; the page says on which days it answers."""
    row = AutoReply.objects.of(account)
    if standing.days_of(row):
        later = _("The auto-reply of %(address)s is saved; it counts from about %(time)s.")
    elif row.on:
        later = _("%(address)s answers like this from about %(time)s.")
    else:
        later = _("%(address)s answers no more from about %(time)s.")
    return from_when(account.server, row.key, account, later)
