"""Pages that need several apps: home, the name-taken assistant, deletion, taking back."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from accounts import passwords, typed
from accounts.forms import OpenAccountForm, add_model_errors
from accounts.languages import is_own_path
from accounts.models import Account, Domain
from accounts.names import readable_address
from accounts.roles import in_domain, may_take_back, require_self_service
from accounts.viewers import mailbox_user
from accounts.views import (
    Fills,
    More,
    Offer,
    Offered,
    Reach,
    render_user_manager,
    with_settings,
)
from forwarding import assistant, pages, removal
from forwarding.addresses import clean_local_part
from forwarding.models import MailingList
from propagation.cancel import cancel, group_of, with_dependents
from propagation.models import Change, ChangeState, TooLate
from propagation.progress import (
    before_farewell,
    clock,
    farewell,
    in_time,
    minutes_until,
)
from propagation.sources import source_of
from quota import fill
from quota.archiving import pages as archives
from quota.wednesday import next_run

SHOWN_CHANGES = 20
CHECKED_FORWARDS = 200
NAMED_CHANGES = 5


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the panel answers; for supervisors and load balancers."""
    return HttpResponse("ok\n", content_type="text/plain")


@csrf_exempt
def to_the_panel(request: HttpRequest) -> HttpResponse:
    """Lead the manual's old address to the panel; what the query string says is ignored."""
    return HttpResponseRedirect(f"{settings.PANEL_URL}/")


@never_cache
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say what to do where a form's token is no longer good, and lead back to the form."""
    back = _own_page(request)
    response = HttpResponse(status=403)
    # Another site's form must not leave its text in ours.
    kept = bool(back) and typed.keep(request, response)
    context = {"back": back, "kept": kept}
    response.content = render_to_string("403_csrf.html", context, request)
    return response


def _own_page(request: HttpRequest) -> str:
    """Return the address of the panel's page that sent a form; "" if it came from elsewhere."""
    own = f"{request.scheme}://{request.get_host()}"
    page = request.headers.get("Referer", "")
    if request.headers.get("Origin") != own or not page.startswith(f"{own}/"):
        return ""
    # Whole: of a path that begins with two slashes the rest would name another host.
    return page


@never_cache
def home(request: HttpRequest) -> HttpResponseBase:
    """Lead everybody to what is his: the customer, the operator, the user of one mailbox."""
    if mailbox_user(request) is not None:
        return redirect("mailbox_home")
    return _home(request)


@login_required
def _home(request: HttpRequest) -> HttpResponse:
    """Lead the customer to the domain, or to the choice of several; the operator to admin."""
    domains = list(Domain.objects.visible_to(request.user)[:2])
    if len(domains) == 1:
        return redirect("domain_home", domains[0].name)
    if not domains and getattr(request.user, "is_staff", False):
        return redirect("admin:index")
    return redirect("domains")


@never_cache
@login_required
@require_safe
def domains(request: HttpRequest) -> HttpResponse:
    """List the customer's domains."""
    own = Domain.objects.visible_to(request.user).select_related("plan", "server")
    return render(request, "panel/domains.html", {"domains": own})


@in_domain
@require_safe
def domain_home(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Show what a domain has, what is on its way, and what needs attention."""
    open_changes = Change.objects.open().filter(domain=domain.name).order_by("due_at", "pk")
    recent = Change.objects.filter(domain=domain.name, state=ChangeState.APPLIED)
    shown = list(open_changes[:SHOWN_CHANGES])
    lasting = MailingList.objects.own_leaves(shown)
    groups = [_group(domain, changes, lasting) for changes in in_time(shown)]
    forwards = domain.forwarding_addresses.prefetch_related("destinations")
    rows = pages.rows(domain, list(forwards[:CHECKED_FORWARDS]))
    context = {
        "domain": domain,
        "used": domain.accounts.count(),
        "forwards": domain.forwarding_addresses.count(),
        "lists": domain.mailing_lists.count(),
        "groups": groups,
        "more": max(0, open_changes.count() - SHOWN_CHANGES),
        "recent": [(change, source_of(change.key).describe(change)) for change in recent[:5]],
        "failing": [group for group in groups if group["cause"]],
        "dead": [row for row in rows if any(lead.nowhere for lead in row.leads)][:5],
        "moving": bool(groups),
        "archived": archives.told(domain),
        "archives": archives.totals(domain),
        **fill.attention(domain),
        "wednesday_at": next_run(),
        "no_password": passwords.is_unusable(domain.fixed_account.password_hash),
    }
    return render(request, "panel/domain_home.html", context)


def _group(domain: Domain, changes: list[Change], lasting: set[str]) -> dict[str, Any]:
    """Put together what a line in time shows of changes that belong together.

    Nobody takes back those whose keys are `lasting`.
    """
    last = max(changes, key=lambda change: change.due_at)
    pending = all(change.state == ChangeState.PENDING for change in changes)
    return {
        "first": changes[0],
        "due_at": last.due_at,
        "minutes_left": minutes_until(last.due_at),
        "words": [source_of(change.key).describe(change) for change in changes],
        "pending": pending,
        "take_back": pending
        and all(_can_take_back(domain, change) and change.key not in lasting for change in changes),
        "cause": next((change.get_cause_display() for change in changes if change.cause), ""),
        "retry_at": next((change.retry_at for change in changes if change.retry_at), None),
    }


def _can_take_back(domain: Domain, change: Change) -> bool:
    """Whether the owner may take the change back; the opening of a domain nobody can."""
    opening = (f"domain:{domain.name}", f"mailbox:{domain.label}")
    return may_take_back(domain, change) and not (change.creates and change.key in opening)


@in_domain
@require_http_methods(["GET", "POST"])
def use_assistant(
    request: HttpRequest, domain: Domain, *, reach: Reach, fills: Fills, offer: Offer, more: More
) -> HttpResponse:
    """Create the mailbox `mailbox` and lead the taken `name` of this domain to it, in one step."""
    if request.method == "GET":
        return redirect("user_manager", domain.name)
    require_self_service(domain)
    sent = {"name": request.POST.get("mailbox", ""), "password": request.POST.get("password", "")}
    form = OpenAccountForm(sent, domain=domain, by=request.user)
    try:
        wanted = clean_local_part(request.POST.get("name", ""))
    except ValidationError:
        return redirect("user_manager", domain.name)
    if form.is_valid():
        try:
            account, address = assistant.open_under(
                domain=domain, wanted=wanted, by=request.user, **form.cleaned_data
            )
        except ValidationError as error:
            add_model_errors(form, error)
        else:
            words = _(
                "%(address)s will work from about %(time)s. The account name for your mail program "
                "is %(name)s."
            )
            time = clock(domain.server)
            values = {"address": address, "name": account.name, "time": time}
            messages.success(request, with_settings(words % values, domain, wanted))
            return redirect("user_manager", domain.name)
    return render_user_manager(
        request,
        domain,
        form,
        reach=reach,
        fills=fills,
        offer=offer,
        more=more,
        taken=wanted,
        assisting=True,
    )


def offer_for(domain: Domain, taken: str) -> Offered:
    """Return what can be offered where `taken` is somebody else's mailbox name."""
    leads_to = assistant.leads_to(domain, taken)
    if leads_to or not assistant.may_offer(domain, taken):
        return Offered(leads_to=leads_to)
    return Offered(name=assistant.propose_name(domain, taken))


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def delete_account(request: HttpRequest, domain: Domain, account_id: Any) -> HttpResponse:
    """Delete a POP account, after a confirmation that names what is lost."""
    require_self_service(domain)
    account = get_object_or_404(domain.accounts.select_related("server"), pk=account_id)
    account.domain = domain
    error = None
    if request.method == "POST":
        try:
            removal.delete_account(account, by=request.user)
        except ValidationError as reason:
            error = reason
        else:
            messages.success(request, _deleted(account))
            return redirect("user_manager", domain.name)
    context = {
        "domain": domain,
        "account": account,
        "forwards": [(row, _listed(rest)) for row, rest in removal.forwards_to(account)],
        "onward": _listed(removal.onward(account)),
        "fixed": account.fixed_for.exists(),
        "error": error,
        **before_farewell(account.server, account.key),
        "trash_days": settings.TRASH_DAYS,
    }
    return render(request, "panel/delete_account.html", context, status=422 if error else 200)


def _listed(addresses: list[str]) -> str:
    return ", ".join(map(readable_address, addresses))


def _deleted(account: Account) -> str:
    """Say when the account goes; one that the server never had is gone already."""
    later = _("%(address)s will be deleted at about %(time)s.")
    return farewell(account.server, account.key, account, later)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def cancel_change(request: HttpRequest, domain: Domain, change_id: int) -> HttpResponse:
    """Take a pending change back, with everything that was asked for or hangs together with it.

    What takes more along than its own name says, such as a new list its members, asks first.
    """
    change = get_object_or_404(Change, pk=change_id, domain=domain.name)
    back = _way_back(request, domain)
    together = with_dependents(group_of(change.group))
    if not any(one.pk == change.pk for one in together):
        return _too_late(request, back)
    if not all(may_take_back(domain, one) for one in together):
        raise PermissionDenied
    members = sum(len((one.after or {}).get("members", [])) for one in together if one.creates)
    ask = len(together) > 1 or members
    if request.method != "POST" or (ask and "sure" not in request.POST):
        context = {
            "domain": domain,
            "change": change,
            "words": [source_of(one.key).describe(one) for one in together],
            "members": members,
            "back": back,
        }
        return render(request, "panel/cancel_change.html", context)
    try:
        gone = cancel(together)
    except TooLate:
        return _too_late(request, back)
    except ValidationError as error:
        messages.error(request, _("This cannot be taken back: %s") % " ".join(error.messages))
    else:
        words = _("Taken back: %s. Nothing changes on the mail server.")
        messages.success(request, words % _named(gone))
    return HttpResponseRedirect(back)


def _named(changes: list[Change]) -> str:
    """Say what changes do, in the length of a note."""
    words = [source_of(change.key).describe(change) for change in changes]
    more = len(words) - NAMED_CHANGES
    if more > 0:
        rest = ngettext("and %(more)s more", "and %(more)s more", more) % {"more": more}
        words[NAMED_CHANGES:] = [rest]
    return " / ".join(words)


def _too_late(request: HttpRequest, back: str) -> HttpResponse:
    messages.error(request, _("Too late to take back: this change is being applied or has ended."))
    return HttpResponseRedirect(back)


def _way_back(request: HttpRequest, domain: Domain) -> str:
    """Return the page from which the reader came, if it is one of ours."""
    back = request.POST.get("next") or request.GET.get("next") or ""
    return back if is_own_path(back) else f"/domains/{domain.name}/"
