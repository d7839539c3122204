"""The operator's pages of archives: the week's report, what customers asked for, and the files."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.admin import ReadOnly
from propagation.models import MailServer
from quota.archiving import weekly
from quota.archiving.words import to_operator
from quota.models import (
    Archive,
    ArchiveJob,
    ArchiveNews,
    ArchiveRun,
    ArchiveRunResult,
)
from quota.tasks import archive_server, do_archive_jobs, look_after_server_archives
from quota.words import bytes_of, number


@admin.register(Archive)
class ArchiveAdmin(ReadOnly):
    """Archives in the homes of this service's domains."""

    list_display = ["file_name", "domain", "server", "taken_at", "messages", "size", "state"]
    list_select_related = ["domain", "server"]
    list_filter = ["state", "server"]
    search_fields = ["file_name", "domain__name"]
    date_hierarchy = "taken_at"
    actions = ["look_for_files"]

    @admin.display(description=gettext_lazy("file"), ordering="file_bytes")
    def size(self, obj: Archive) -> str:
        """Return the file's size as people read it."""
        return bytes_of(obj.file_bytes)

    @admin.action(description=gettext_lazy("Look now whether the files are there"))
    def look_for_files(self, request: HttpRequest, queryset: Any) -> None:
        """Let the next minute look for all files of the chosen archives' servers."""
        servers = queryset.order_by().values("server")
        ArchiveNews.objects.filter(server__in=servers).update(verified_at=None)
        self.message_user(request, _("Within a minute the files are looked for."))


class ResultInline(admin.TabularInline):  # type: ignore[type-arg]
    """What became of each mailbox of a run."""

    model = ArchiveRunResult
    fields = (
        "address",
        "file_name",
        "messages",
        "size",
        "reason",
        "trouble",
        "attempts",
        "ended_at",
        "retry_at",
    )
    readonly_fields = fields
    extra = 0
    can_delete = False
    ordering = ["code", "address"]

    @admin.display(description=gettext_lazy("mail"))
    def size(self, obj: ArchiveRunResult) -> str:
        """Return how much was taken, as people read it."""
        return bytes_of(obj.mail_bytes) if not obj.code else ""

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, obj: ArchiveRunResult) -> str:
        """Say what the operator has to look at."""
        return f"{obj.code}: {to_operator(obj.code)}" if obj.code else ""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A run's worker writes them."""
        return False


@admin.register(ArchiveRun)
class ArchiveRunAdmin(ReadOnly):
    """The week's report: what each run found, took and could not take."""

    # What else there is to a run stands on its own page: more columns fit no screen.
    list_display = ["server", "day", "found", "done", "failed", "taken", "trouble"]
    list_select_related = ["server"]
    list_filter = ["weekly", "server"]
    date_hierarchy = "day"
    inlines = [ResultInline]
    actions = ["again"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Count what became of the mailboxes with the runs."""
        fine = Q(results__code__in=ArchiveRunResult.FINE)
        return (
            super()
            .get_queryset(request)
            .annotate(
                done_count=Count("results", filter=Q(results__code="")),
                failed_count=Count("results", filter=~fine & Q(results__isnull=False)),
                message_sum=Sum("results__messages"),
                byte_sum=Sum("results__mail_bytes"),
            )
        )

    @admin.display(description=gettext_lazy("seconds"))
    def took(self, obj: ArchiveRun) -> str:
        """How long it took."""
        return "" if obj.seconds is None else f"{obj.seconds:,.1f}"

    @admin.display(description=gettext_lazy("archived"))
    def done(self, obj: Any) -> int:
        """How many mailboxes receive again."""
        return int(obj.done_count)

    @admin.display(description=gettext_lazy("not archived"))
    def failed(self, obj: Any) -> int:
        """How many could not be archived."""
        return int(obj.failed_count)

    @admin.display(description=gettext_lazy("messages"))
    def taken(self, obj: Any) -> str:
        """How many messages were taken, and how much that is."""
        return f"{number(obj.message_sum or 0)} ({bytes_of(int(obj.byte_sum or 0))})"

    @admin.action(description=gettext_lazy("Try what failed again now"))
    def again(self, request: HttpRequest, queryset: Any) -> None:
        """Let the servers' workers try again what failed in the chosen runs."""
        failed = ArchiveRunResult.objects.failed().filter(run__in=queryset.values("pk"))
        count = failed.update(retry_at=now())
        for server in MailServer.objects.filter(archiverun__in=queryset.values("pk")).distinct():
            _send(look_after_server_archives, server)
        self.message_user(request, _("%d mailbox(es) are tried again.") % count)

    def get_urls(self) -> list[Any]:
        """Add the button by which a missed run is made up."""
        own = path(
            "run-now/<int:server_id>/",
            self.admin_site.admin_view(require_POST(self.run_now)),
            name="quota_archiverun_run_now",
        )
        return [own, *super().get_urls()]

    def run_now(self, request: HttpRequest, server_id: int) -> HttpResponse:
        """Have a server's last Wednesday made up."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        server = get_object_or_404(MailServer, pk=server_id)
        if weekly.ask_for(server, by=request.user):
            _send(archive_server, server)
            words = _("%s archives its full mailboxes now.") % server
            messages.success(request, words)
        return redirect(reverse("admin:quota_archiverun_changelist"))


@admin.register(ArchiveJob)
class ArchiveJobAdmin(ReadOnly):
    """What customers wanted done with archives."""

    list_display = [
        *("kind", "account_name", "domain", "file_name", "state", "asked_by", "asked_at"),
        *("ended_at", "moved", "no_room", "reason"),
    ]
    list_select_related = ["domain", "asked_by"]
    list_filter = ["state", "kind", "server"]
    search_fields = ["account_name", "domain__name"]
    date_hierarchy = "asked_at"
    actions = ["again"]

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, obj: ArchiveJob) -> str:
        """Say what the operator has to look at."""
        return f"{to_operator(obj.code)} {obj.trouble}" if obj.code else ""

    @admin.action(description=gettext_lazy("Try again"))
    def again(self, request: HttpRequest, queryset: Any) -> None:
        """Let the servers' workers try again what failed."""
        tried = [job for job in queryset.select_related("server") if job.try_again()]
        for server in {job.server for job in tried}:
            _send(do_archive_jobs, server)
        self.message_user(request, _("%d job(s) are tried again.") % len(tried))


def _send(task: Any, server: MailServer) -> None:
    """Send a server's worker a message; where that is lost the minute's look after does it."""
    message = {"args": (server.pk,), "queue": server.queue, "expires": 600}
    transaction.on_commit(lambda: task.apply_async(**message), robust=True)
