"""The pages of remote mail: what lies on the server, one message, deletion, who looked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    QueryDict,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_date
from django.utils.http import content_disposition_header
from django.utils.timezone import get_current_timezone, localdate, localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import roles
from accounts.models import Account
from accounts.viewers import Right, Viewer
from mailhost import mailtext, stuck
from propagation.progress import progress_of
from remotemail import mailbox, uids, words
from remotemail.connection import NotConnected, Refused, Unreachable, connected
from remotemail.models import Action, MailAccess

P = ParamSpec("P")
# Given by plusmail.urls: the IP address that a request comes from, "" or none where unknown.
ClientAddress = Callable[[HttpRequest], str]

#: How many lines of a message as it came can be asked for.
LINES = (20, 100, 500)
#: Messages named on the page that asks before a deletion.
NAMED = 10
TRAIL_PAGE = 50
_LONGEST_SEARCH = 100
# What file systems and their users cannot have in a name.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f\\/:*?"<>|\u2400-\u2421\ufffd]+')


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at which account's mail."""

    request: HttpRequest
    viewer: Viewer
    account: Account
    address: str

    def note(self, action: Action, folder: str, **counts: int | None) -> MailAccess:
        """Write this access down."""
        return MailAccess.objects.note(
            by=self.viewer.by,
            account=self.account,
            action=action,
            address=self.address,
            folder=folder,
            **counts,
        )

    def page(self, template: str, context: dict[str, Any]) -> HttpResponse:
        """Return a page about this account."""
        own = {"viewer": self.viewer, "domain": self.viewer.domain, "account": self.account}
        return render(self.request, f"remotemail/{template}.html", own | context)

    def to_list(self, folder: str = mailbox.INBOX, back: str = "") -> HttpResponse:
        """Lead back to the list; `back` is the query of the list that one came from."""
        query = QueryDict(back).urlencode() or urlencode({"folder": folder})
        path = self.viewer.url("remote_mail", self.account.pk)
        return redirect(f"{path}?{query}")


def of_account(
    *methods: str, to_delete: bool = False
) -> Callable[..., Callable[..., HttpResponseBase]]:
    """Give a view the account whose mail it is about, and say so where that cannot be had.

    The account is looked for before anything is said about the method.
    """
    more = [Right.DELETE] if to_delete else []

    def decorate(
        view: Callable[Concatenate[Visit, P], HttpResponseBase],
    ) -> Callable[..., HttpResponseBase]:
        def guarded(
            request: HttpRequest,
            viewer: Viewer,
            account: Account,
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> HttpResponseBase:
            client_address: Any = kwargs.pop("client_address")
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            visit = Visit(request, viewer, account, client_address(request))
            progress = progress_of(account.server_id, [account.key])[account.key]
            if progress.creating:
                return visit.page("trouble", {"trouble": "pending", "progress": progress})
            try:
                return view(visit, *args, **kwargs)
            except Unreachable as error:
                return visit.page("trouble", {"trouble": _trouble(error), "progress": progress})
            except mailbox.Renumbered:
                said = _("The mailbox was set up anew meanwhile. Nothing was changed; look again.")
                messages.warning(request, said)
                return visit.to_list()

        return wraps(view)(roles.of_account(Right.MAIL, *more)(guarded))

    return decorate


def _trouble(error: Unreachable) -> str:
    if isinstance(error, NotConnected):
        return "not-connected"
    return "refused" if isinstance(error, Refused) else "silent"


# The list


@of_account("GET", "HEAD")
def remote_mail(visit: Visit) -> HttpResponseBase:
    """List the messages of a folder, searched and in order as the server does it."""
    given = visit.request.GET
    name, query = given.get("folder", mailbox.INBOX), _query(given)
    with connected(visit.account) as client:
        names = mailbox.folders(client)
        if name not in names:
            messages.warning(visit.request, _("There is no such folder any more."))
            return visit.to_list()
        folder = mailbox.open_folder(client, name)
        visit.note(Action.LIST, name)
        page = mailbox.page_of(client, folder, query, given.get("page"))
        rows = [(head, words.defects(head.defects)) for head in page.object_list]
    context = {
        "folder": folder,
        "folders": names,
        "query": query,
        "page": page,
        "rows": rows,
        "stuck": sum(1 for head, _words in rows if head.stuck),
        "orders": _orders(),
        "places": _places(),
        "month_ago": localdate() - timedelta(days=30),
        "today": localdate(),
        "last": MailAccess.objects.of(visit.account).exclude(action=Action.LIST).first(),
    }
    return visit.page("list", context)


def _query(given: QueryDict) -> mailbox.Query:
    place, order = given.get("in", ""), given.get("order", "")
    return mailbox.Query(
        mailtext.one_line(given.get("q", ""), _LONGEST_SEARCH),
        place if place in mailbox.PLACES else "both",
        order if order in mailbox.ORDERS else "new",
    )


def _orders() -> dict[str, str]:
    return {
        "new": _("Newest first"),
        "old": _("Oldest first"),
        "large": _("Largest first"),
        "from": _("By sender"),
        "subject": _("By subject"),
    }


def _places() -> dict[str, str]:
    return {
        "both": _("sender or subject"),
        "from": _("sender"),
        "subject": _("subject"),
    }


# One message


@of_account("GET", "HEAD")
def remote_message(visit: Visit, *, validity: int, uid: int) -> HttpResponseBase:
    """Show one message as text, or its first lines as they came. It stays as unread as it was."""
    given = visit.request.GET
    name, lines = given.get("folder", mailbox.INBOX), _lines(given.get("lines", ""))
    with connected(visit.account) as client:
        if name not in mailbox.folders(client):
            return visit.to_list()
        folder = mailbox.open_folder(client, name, validity)
        try:
            opened = mailbox.look(client, _possible(uid))
        except mailbox.Gone:
            return _gone(visit, name)
        visit.note(Action.READ, name, messages=1, size=opened.head.size)
    context: dict[str, Any] = {
        "folder": folder,
        "head": opened.head,
        "defects": words.defects(opened.head.defects),
        "lines": lines,
        "choices": LINES,
    }
    if lines:
        source, cut = mailtext.first_lines(opened.data, lines)
        context |= {"source": source, "cut": cut or not opened.whole}
    else:
        text = mailtext.read(opened.data, whole=opened.whole)
        headers = [(words.HEADERS[name], value) for name, value in text.headers]
        context |= {"text": text, "headers": headers}
    return visit.page("message", context)


def _lines(text: str) -> int:
    """Return how many lines of the message as it came are asked for; 0: none."""
    return next((count for count in LINES if str(count) == text), 0)


def _possible(uid: int) -> int:
    if not 1 <= uid <= uids.LARGEST:
        raise mailbox.Gone(uid)
    return uid


def _gone(visit: Visit, folder: str) -> HttpResponse:
    said = _("This message is no longer on the server: somebody or a mail program deleted it.")
    messages.warning(visit.request, said)
    return visit.to_list(folder)


@of_account("GET", "HEAD")
def remote_download(visit: Visit, *, validity: int, uid: int) -> HttpResponseBase:
    """Give a message as a file, piece by piece as it comes from the server."""
    name = visit.request.GET.get("folder", mailbox.INBOX)
    with connected(visit.account) as client:
        if name not in mailbox.folders(client):
            return visit.to_list()
    try:
        download = mailbox.Download(visit.account, name, validity, _possible(uid))
    except mailbox.Gone:
        return _gone(visit, name)
    head = download.opened.head
    try:
        visit.note(Action.DOWNLOAD, name, messages=1, size=head.size)
    except BaseException:
        download.close()
        raise
    response = StreamingHttpResponse(download, content_type="message/rfc822")
    response.headers["Content-Length"] = str(head.size)
    response.headers["Content-Disposition"] = content_disposition_header(True, _file_name(head))
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _file_name(head: mailbox.Head) -> str:
    """Return a name that every system takes: the day, the subject and the number."""
    subject = _NOT_IN_NAMES.sub(" ", head.subject)
    subject = " ".join(subject.split())[:60].strip(". ")
    day = f"{localtime(head.received):%Y%m%d}" if head.received else ""
    return "-".join(filter(None, [day, subject or "message", str(head.uid)])) + ".eml"


# Deletion


@of_account("POST", to_delete=True)
def remote_delete(visit: Visit) -> HttpResponseBase:
    """Ask before messages are deleted, and delete just those that were asked about."""
    form = visit.request.POST
    name, back = form.get("folder", mailbox.INBOX), form.get("back", "")[:500]
    try:
        validity = int(form.get("validity", "0")[:10])
        wanted = _wanted(form)
    except ValueError:
        messages.error(visit.request, _("Choose messages, or enter a date."))
        return visit.to_list(name, back)
    sure = form.get("sure") == "1" and isinstance(wanted, list)
    with connected(visit.account) as client:
        if name not in mailbox.folders(client):
            return visit.to_list()
        folder = mailbox.open_folder(client, name, validity, to_delete=sure)
        if sure and isinstance(wanted, list):
            return _delete(visit, client, folder, wanted, back)
        if isinstance(wanted, date):
            wanted = mailbox.older_than(client, _seconds_since(wanted))
        sizes = mailbox.there(client, wanted)
        named = mailbox.heads(client, sorted(sizes, reverse=True)[:NAMED])
        visit.note(Action.LIST, name, messages=len(sizes))
    if not sizes:
        nothing = _("There is nothing to delete: no such message is on the server.")
        messages.warning(visit.request, nothing)
        return visit.to_list(name, back)
    context = {
        "folder": folder,
        "uids": uids.write(sizes),
        "count": len(sizes),
        "size": sum(sizes.values()),
        "gone": len(wanted) - len(sizes),
        "named": named,
        "more": max(0, len(sizes) - len(named)),
        "before": parse_date(form.get("before", "")[:10]) if "older" in form else None,
        "back": back,
    }
    return visit.page("delete", context)


def _wanted(form: QueryDict) -> list[int] | date:
    """Return the messages that a form names, or the day before which they arrived. ValueError."""
    if "older" in form:
        before = parse_date(form.get("before", "")[:10])
        if before is None or before > localdate():
            raise ValueError("no date")
        return before
    return uids.read(form.get("uids") or ",".join(form.getlist("uid")))


def _seconds_since(day: date) -> int:
    """Return the seconds since that day began, by the panel's clock."""
    began = datetime.combine(day, datetime.min.time(), get_current_timezone())
    return int((now() - began).total_seconds())


def _delete(
    visit: Visit, client: Any, folder: mailbox.Folder, wanted: list[int], back: str
) -> HttpResponse:
    sizes = mailbox.there(client, wanted)
    access = visit.note(Action.DELETE, folder.name, asked=len(wanted), size=sum(sizes.values()))
    done = mailbox.delete(client, wanted)
    access.ended(done.count)
    if done.count:
        said = ngettext(
            "%(count)s message was deleted from the server.",
            "%(count)s messages were deleted from the server.",
            done.count,
        )
        messages.success(visit.request, said % {"count": f"{done.count:,}"})
    if done.gone:
        said = ngettext(
            "%(count)s message was no longer there: somebody or a mail program had deleted it.",
            "%(count)s messages were no longer there: somebody or a mail program had deleted them.",
            done.gone,
        )
        messages.warning(visit.request, said % {"count": f"{done.gone:,}"})
    return visit.to_list(folder.name, back)


# Who looked


@of_account("GET", "HEAD")
def remote_trail(visit: Visit) -> HttpResponseBase:
    """Show who looked at this account's mail by these pages, and what for."""
    accesses = MailAccess.objects.of(visit.account)
    page = Paginator(accesses, TRAIL_PAGE).get_page(visit.request.GET.get("page"))
    return visit.page("trail", {"page": page})


@never_cache
@require_safe
def help_remote_mail(request: HttpRequest) -> HttpResponse:
    """Say to everybody what to do where mail cannot be received (manual, section 4)."""
    context = {"large": stuck.LARGE, "stuck": stuck.STUCK}
    return render(request, "remotemail/help.html", context)
