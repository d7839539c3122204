"""The pages of a mailbox's user: the login, and what he has and may do at a glance."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.languages import remember
from accounts.roles import in_mailbox
from accounts.viewers import Right, Viewer, mailbox_user
from accounts.views import PanelLoginView
from history.models import Entry
from mailuser import sessions
from mailuser.forms import PanelLoginForm
from mailuser.sessions import MailboxUser
from propagation.progress import progress_of
from quota import fill, pages
from quota.limits import limits_of
from quota.models import MailboxUsage, WaitingMail
from quota.views import ClientAddress


class LoginView(PanelLoginView):
    """The panel's one login: of logins, and of mailboxes' users."""

    form_class = PanelLoginForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Lead a mailbox's user who is logged in to his page."""
        if mailbox_user(request) is not None:
            return redirect("mailbox_home")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Log the login or the mailbox's user in and remember the language."""
        user = form.get_user()
        if not isinstance(user, MailboxUser):
            return super().form_valid(form)
        wanted, home = self.get_redirect_url(), reverse("mailbox_home")
        sessions.log_in(self.request, user)
        with transaction.atomic():
            address, domain = user.account.address, user.account.domain.name
            Entry.objects.note("mailbox.login", subject=address, domain=domain)
        response = redirect(wanted if wanted.startswith(home) else home)
        if language := user.language:
            remember(response, language)
        return response


@in_mailbox(Right.LOGIN)
@require_safe
def mailbox_home(
    request: HttpRequest, viewer: Viewer, *, client_address: ClientAddress
) -> HttpResponse:
    """Show what the mailbox holds, what it sent, and what its user may do."""
    account = viewer.account
    assert account is not None  # noqa: S101 (in_mailbox lets nobody else in)
    domain, limits = viewer.domain, limits_of(account, viewer.domain)
    usage = MailboxUsage.objects.filter(account=account).first()
    report = pages.report_of(domain)
    context = {
        "viewer": viewer,
        "domain": domain,
        "account": account,
        "progress": progress_of(account.server_id, [account.key])[account.key],
        "fill": fill.fill_of(usage) if usage else None,
        "usage": usage,
        "report": fill.report_of(domain),
        "waiting": WaitingMail.objects.filter(account=account).first(),
        "gauge": pages.Gauge(pages.sent_today(account), limits.recipients_per_day),
        **pages.ways(account, limits, report, client_address(request)),
    }
    return render(request, "mailuser/home.html", context)
