"""The pages of CSV files: export, the dry run of an import, and how far it has come."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import localdate
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Domain
from accounts.roles import in_domain, may_change_accounts, require_self_service
from bulk import jobs
from bulk.files import ENCODINGS, write
from bulk.forms import UploadForm
from bulk.kinds import KINDS
from bulk.models import PLANNED, Import, ImportKind, ImportState, Outcome

PAGE_SIZE = 50


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def csv_home(request: HttpRequest, domain: Domain) -> HttpResponse:
    """Offer the exports, and take a file whose import is tried at once, without changing
    anything."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        _require(domain, form.cleaned_data["kind"])
        if job := form.check(domain, by=request.user):
            return redirect("csv_import", domain.name, job.pk)
    context = {
        "domain": domain,
        "form": form,
        "of": form.data.get("kind", ""),
        "self_service": may_change_accounts(domain),
        "imports": domain.imports.all()[:10],
        "most_rows": jobs.MOST_ROWS,
        "most_passwords": jobs.MOST_PASSWORDS,
    }
    return render(request, "bulk/csv.html", context, status=422 if form.errors else 200)


@in_domain
@require_safe
def csv_export(request: HttpRequest, domain: Domain, *, kind: str) -> HttpResponse:
    """Send all accounts, or all forwarding addresses, as a file."""
    encoding = request.GET.get("encoding", "utf-8")
    if encoding not in ENCODINGS:
        raise Http404
    content = write(KINDS[kind].rows(domain, encoding), encoding=encoding)
    return _file(content, f"{domain.name}-{kind}-{localdate():%Y%m%d}.csv", encoding)


@in_domain
@require_http_methods(["GET", "HEAD", "POST"])
def csv_import(request: HttpRequest, domain: Domain, import_id: int) -> HttpResponse:
    """Show what would come of each row, begin the import, and show how far it is."""
    job = get_object_or_404(domain.imports.select_related("asked_by"), pk=import_id)
    if request.method == "POST":
        _require(domain, job.kind)
        return _act(request, domain, job)
    counts = job.counts()
    shown = request.GET.get("q", "")
    rows = job.rows.filter(outcome=shown) if shown in Outcome.values else job.rows.all()
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    total = sum(counts.values())
    left = job.left().count()
    context = {
        "domain": domain,
        "job": job,
        "forwards": job.kind == ImportKind.FORWARDS,
        "outcomes": [(one, _label(job, one), count) for one, count in counts.items()],
        "work": counts[Outcome.ADD] + counts[Outcome.CHANGE],
        "refused": counts[Outcome.REFUSED],
        "total": total,
        "ready": total - left,
        "page": page,
        "q": shown,
        "sort": "",
        "makes_passwords": job.rows.filter(generated=True, outcome=Outcome.ADD).exists(),
    }
    return render(request, "bulk/import.html", context)


def _label(job: Import, outcome: str) -> Any:
    """Return what is said of the rows of an outcome."""
    planned = PLANNED if job.state == ImportState.CHECKED else {}
    return planned.get(outcome, Outcome(outcome).label)


def _act(request: HttpRequest, domain: Domain, job: Import) -> HttpResponse:
    """Do what a button of the page says."""
    if "discard" in request.POST:
        domain.imports.filter(pk=job.pk, state=ImportState.CHECKED).delete()
        return redirect("csv_home", domain.name)
    if "confirm" in request.POST:
        jobs.confirm(job, by=request.user)
    elif "passwords" in request.POST and (made := jobs.new_passwords(job)):
        rows = [[_("Account name"), _("Password")], *map(list, made)]
        return _file(write(rows, encoding="utf-8"), f"{domain.name}-passwords.csv", "utf-8")
    return redirect("csv_import", domain.name, job.pk)


def _require(domain: Domain, kind: Any) -> None:
    """Raise PermissionDenied where the plan leaves this to us."""
    if kind == ImportKind.ACCOUNTS:
        require_self_service(domain)


def _file(content: bytes, name: str, encoding: str) -> HttpResponse:
    charset = "Shift_JIS" if encoding == "shift_jis" else "utf-8"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type=f"text/csv; charset={charset}", headers=headers)
