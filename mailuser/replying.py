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
from mailhost import grammar
from mailhost.records import MAX_REPLIES_AN_HOUR, MAX_REPLY_DAYS
from mailuser.models import AutoReply, reply_key
from propagation.progress import clock, from_when, progress_of

_FIELDS = ("on", "subject", "text", "starts", "ends", "days")


class ReplyForm(PageForm):
    """What is answered, and when."""

    on = forms.BooleanField(required=False)
    subject = forms.CharField(max_length=200)
    text = forms.CharField(max_length=5000)
    starts = forms.DateField(required=False)
    ends = forms.DateField(required=False)
    days = forms.IntegerField(min_value=1, max_value=MAX_REPLY_DAYS)

    def clean_subject(self) -> str:
        """Return one line that can be a subject."""
        return _sendable(self.cleaned_data["subject"].strip(), grammar.check_subject)

    def clean_text(self) -> str:
        """Return the text as it is sent: lines, without tabulators."""
        text = self.cleaned_data["text"].replace("\r\n", "\n").replace("\r", "\n")
        return _sendable(text.expandtabs(4).rstrip(), grammar.check_letter)

    def save(self, account: Account, by: Any) -> bool:
        """Let the account answer so, or put the reason why not on the form."""
        try:
            AutoReply.objects.write(account, by=by, **self.cleaned_data)
        except ValidationError as error:
            add_model_errors(self, error)
            return False
        return True


def _sendable(text: str, check: Any) -> str:
    try:
        check(text)
    except grammar.GrammarError as error:
        if len(text) > 4000:
            raise ValidationError(_("Use at most %(most)d characters.") % {"most": 4000}) from error
        raise ValidationError(
            _("There is a character in it that cannot be sent. Please type it anew here.")
        ) from error
    return text


@of_account(Right.REPLY)
@require_http_methods(["GET", "HEAD", "POST"])
def auto_reply(request: HttpRequest, viewer: Viewer, account: Account) -> HttpResponse:
    """Show what a mailbox answers by itself, and change it."""
    row = AutoReply.objects.filter(account=account).first() or AutoReply(account=account)
    form = ReplyForm(request.POST or None, initial={name: getattr(row, name) for name in _FIELDS})
    if request.method == "POST" and form.is_valid() and form.save(account, viewer.by):
        messages.success(request, _said(account, form.cleaned_data["on"]))
        return redirect(viewer.url("auto_reply", account.pk))
    key = reply_key(account.name)
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "account": account,
        "form": form,
        "row": row,
        "progress": progress_of(account.server_id, [key])[key],
        "time": clock(account.server),
        "most_days": MAX_REPLY_DAYS,
        "most_an_hour": MAX_REPLIES_AN_HOUR,
    }
    return render(request, "mailuser/reply.html", context, status=422 if form.errors else 200)


def _said(account: Account, on: bool) -> str:
    later = (
        _("%(address)s answers like this from about %(time)s.")
        if on
        else _("%(address)s answers no more from about %(time)s.")
    )
    return from_when(account.server, reply_key(account.name), account, later)
