"""The pages of a mailbox's user: the login, and what he has and may do at a glance."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from accounts.languages import remember
from accounts.models import Account
from accounts.roles import in_mailbox
from accounts.viewers import Right, Viewer, mailbox_user
from accounts.views import PanelLoginView
from forwarding.models import ForwardingAddress
from history.models import Entry
from mailuser import sessions, standing
from mailuser.forms import PanelLoginForm
from mailuser.models import AutoReply, reply_key
from mailuser.sessions import MailboxUser
from propagation.progress import progress_of
from propagation.sources import source_of
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
        "fill": fill.fill_of(usage) if usage else None,
        "usage": usage,
        "report": fill.report_of(domain),
        "waiting": WaitingMail.objects.filter(account=account).first(),
        "gauge": pages.Gauge(pages.sent_today(account), limits.recipients_per_day),
        **pages.ways(account, limits, report, client_address(request)),
        **_standing(viewer, account),
    }
    return render(request, "mailuser/home.html", context)


def _standing(viewer: Viewer, account: Account) -> dict[str, Any]:
    """Return how auto-reply and forwarding stand, and what of his is on its way."""
    mail, reply, address = account.key, reply_key(account.name), f"address:{account.address}"
    progress = progress_of(account.server_id, [mail, reply, address])
    forwarding = ForwardingAddress.objects.of_mailbox(account)
    may_reply, may_forward = viewer.may(Right.REPLY), viewer.may(Right.FORWARD)
    shown = [mail, *([reply] if may_reply else []), *([address] if may_forward else [])]
    moving = [(progress[key], progress[key].change) for key in shown]
    return {
        "reply_stage": standing.of_reply(AutoReply.objects.of(account), progress[reply]),
        "forwarding_stage": standing.of_forwarding(forwarding, progress[address]),
        "silenced": standing.silenced(forwarding) if may_reply else "",
        "pending": [(source_of(one.key).describe(one), its) for its, one in moving if one],
    }
