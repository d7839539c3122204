"""The pages of archives: all of a domain, one of them, and what can be done with it.

Looking and downloading read the file here, in the web process; what moves mail is asked of the
server's worker (quota.archiving.jobs).
"""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Account
from accounts.roles import for_viewer, of_account
from accounts.viewers import Right, Viewer
from mailhost.archive.reading import Entry, text_of
from quota import fill
from quota.archiving import jobs, pages
from quota.archiving.forms import PutBackForm, SearchForm, WhichForm
from quota.archiving.pages import NotReadable
from quota.archiving.words import to_customer
from quota.downloads import download
from quota.models import Archive, ArchiveChoice, MailboxUsage


@for_viewer(Right.ARCHIVES)
@require_http_methods(["GET", "HEAD", "POST"])
def archives(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """List the archives; the domain's owner also chooses what the Wednesday job takes."""
    domain = viewer.domain
    if request.method == "POST":
        if viewer.mailbox:
            raise PermissionDenied
        form = WhichForm(request.POST)
        if form.is_valid():
            ArchiveChoice.objects.update_or_create(domain=domain, defaults={"oldest": form.oldest})
            messages.success(request, _("Your choice counts from the next Wednesday on."))
        return redirect(viewer.url("archives"))
    search = SearchForm(request.GET)
    page = pages.page_of(viewer, search.text(), search.order(), request.GET.get("page"))
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "page": page,
        "q": search.text(),
        "sort": search.order(),
        "oldest": pages.oldest_only(domain),
        "wednesday": fill.next_wednesday(domain),
        "jobs": pages.open_jobs(viewer),
        **pages.totals(domain, viewer.account),
    }
    return render(request, "quota/archives.html", context)


@for_viewer(Right.ARCHIVES)
@require_safe
def archive(request: HttpRequest, viewer: Viewer, archive_id: int) -> HttpResponse:
    """Look inside an archive: a part of its messages."""
    row = _own(viewer, archive_id)
    page = Paginator(range(1, row.messages + 1), pages.MESSAGES).get_page(request.GET.get("page"))
    found: list[Entry] = []
    problem = ""
    try:
        found = pages.page_inside(row, page.start_index())
    except NotReadable as error:
        problem = str(error)
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "archive": row,
        "account": row.account(),
        "page": page,
        "entries": found,
        "problem": problem,
    }
    return render(request, "quota/archive.html", context)


@for_viewer(Right.ARCHIVES)
@require_safe
def archive_message(
    request: HttpRequest, viewer: Viewer, archive_id: int, number: int
) -> HttpResponse:
    """Show one message of an archive, as plain text."""
    row = _own(viewer, archive_id)
    if not 1 <= number <= row.messages:
        raise Http404
    text, problem = None, ""
    try:
        with pages.reading(row) as file:
            text = text_of(file, number)
    except NotReadable as error:
        problem = str(error)
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "archive": row,
        "account": row.account(),
        "number": number,
        "previous": number - 1,
        "next": number + 1 if number < row.messages else 0,
        "page_number": (number - 1) // pages.MESSAGES + 1,
        "text": text,
        "problem": problem,
    }
    return render(request, "quota/archive_message.html", context)


@for_viewer(Right.ARCHIVES)
@require_safe
def archive_download(request: HttpRequest, viewer: Viewer, archive_id: int) -> HttpResponseBase:
    """Send an archive's file; a download that broke off goes on where it was."""
    row = _own(viewer, archive_id)
    try:
        file = pages.opened(row)
    except NotReadable as error:
        messages.error(request, str(error))
        return redirect(viewer.url("archive", row.pk))
    return download(request, file, row.file_name, pages.tag_of(row, file))


@for_viewer(Right.ARCHIVES)
@require_http_methods(["GET", "HEAD", "POST"])
def archive_put_back(request: HttpRequest, viewer: Viewer, archive_id: int) -> HttpResponse:
    """Put an archive's messages back, all or chosen ones, once it was said what fits."""
    row = _own(viewer, archive_id)
    account = row.account()
    numbers = PutBackForm(request.POST, messages=row.messages).numbers()
    if "chosen" in request.POST and not numbers:
        messages.warning(request, _("No message was chosen."))
        return redirect(viewer.url("archive", row.pk))
    if request.method == "POST" and "sure" in request.POST and account and row.kept:
        try:
            job = jobs.put_back(row, numbers=numbers or None, by=viewer.login)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect(viewer.url("archive", row.pk))
        return redirect(viewer.url("archive_job", job.pk))
    found: list[Entry] = []
    problem = ""
    try:
        found = pages.chosen(row, numbers)
    except NotReadable as error:
        problem = str(error)
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "archive": row,
        "account": account,
        "numbers": numbers,
        "entries": found,
        "problem": problem,
        "size": sum(entry.size for entry in found) if numbers else row.mail_bytes,
        "room": pages.room(account, viewer.domain) if account else None,
    }
    return render(request, "quota/archive_put_back.html", context)


@for_viewer(Right.ARCHIVES, Right.DELETE)
@require_http_methods(["GET", "HEAD", "POST"])
def archive_delete(request: HttpRequest, viewer: Viewer, archive_id: int) -> HttpResponse:
    """Delete an archive, after a confirmation that names what is lost."""
    row = _own(viewer, archive_id)
    if request.method == "POST" and row.kept:
        try:
            job = jobs.delete(row, by=viewer.login)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect(viewer.url("archive", row.pk))
        return redirect(viewer.url("archive_job", job.pk))
    return render(
        request,
        "quota/archive_delete.html",
        {"viewer": viewer, "domain": viewer.domain, "archive": row},
    )


@of_account(Right.ARCHIVES)
@require_http_methods(["GET", "HEAD", "POST"])
def archive_now(request: HttpRequest, viewer: Viewer, account: Account) -> HttpResponse:
    """Archive an account's mail without waiting for Wednesday, full or not."""
    domain = viewer.domain
    form = WhichForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = jobs.archive_now(account, domain, oldest=form.oldest, by=viewer.login)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect(viewer.url("archive_now", account.pk))
        return redirect(viewer.url("archive_job", job.pk))
    usage = MailboxUsage.objects.filter(account=account).first()
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "account": account,
        "usage": usage,
        "until_half": max(0, usage.used - usage.limit // 2) if usage else 0,
        "oldest": pages.oldest_only(domain),
    }
    return render(request, "quota/archive_now.html", context)


@for_viewer(Right.ARCHIVES)
@require_safe
def archive_job(request: HttpRequest, viewer: Viewer, job_id: int) -> HttpResponse:
    """Show how far something that was asked for has come, and what came of it."""
    domain = viewer.domain
    job = get_object_or_404(pages.jobs_of(viewer).select_related("archive"), pk=job_id)
    job.domain = domain
    made = None
    if job.file_name:
        made = domain.archives.kept().filter(file_name=job.file_name).first()
    context = {
        "viewer": viewer,
        "domain": viewer.domain,
        "job": job,
        "archive": job.archive or made,
        "reason": to_customer(job.code) if job.code else "",
    }
    return render(request, "quota/archive_job.html", context)


def _own(viewer: Viewer, archive_id: int) -> Archive:
    """Return an archive that this one may see; 404 for any other, and for one that was deleted."""
    row: Archive = get_object_or_404(pages.archives_of(viewer), pk=archive_id)
    row.domain = viewer.domain
    return row
