"""The operator's pages for mail servers and for what is on its way to them."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from propagation.cancel import cancel
from propagation.models import Change, MailServer, TooLate
from propagation.tasks import sweep


@admin.register(MailServer)
class MailServerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Mail servers, and whether they answer."""

    list_display = ["name", "works", "seen_at", "trouble", "accepts_domains"]
    search_fields = ["name"]
    readonly_fields = ["seen_at", "trouble"]

    @admin.display(boolean=True, description=_("answers"))
    def works(self, obj: MailServer) -> bool:
        """Whether the server answered lately."""
        return obj.answers()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A server's name is also its queue's and its directory's: it stays."""
        return [*self.readonly_fields, "name"] if obj else self.readonly_fields


@admin.register(Change)
class ChangeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The outbox. Nothing is edited here; changes are moved by actions."""

    list_display = ["key", "server", "state", "due_at", "ended_at", "attempts", "made_by"]
    list_select_related = ["server", "made_by"]
    list_filter = ["state", "server"]
    search_fields = ["key", "domain"]
    date_hierarchy = "made_at"
    exclude = ["before_secret", "after_secret"]
    actions = ["apply_now", "take_back", "retry"]
    show_full_result_count = False

    @admin.action(description=_("Apply now"))
    def apply_now(self, request: HttpRequest, queryset: Any) -> None:
        """Do not wait for the due time."""
        count = queryset.hurry()
        transaction.on_commit(sweep.delay, robust=True)
        self.message_user(request, _("%d change(s) are due now.") % count)

    @admin.action(description=_("Cancel"))
    def take_back(self, request: HttpRequest, queryset: Any) -> None:
        """Cancel pending changes; what belongs to them or depends on them goes with them."""
        try:
            groups = set(queryset.pending().values_list("group", flat=True))
            gone = cancel(Change.objects.pending().filter(group__in=groups))
        except TooLate:
            self.message_user(request, _("Too late: it is being applied."), messages.ERROR)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        else:
            self.message_user(request, _("%d change(s) cancelled.") % len(gone))

    @admin.action(description=_("Try again at once"))
    def retry(self, request: HttpRequest, queryset: Any) -> None:
        """Do not wait for the pause after a failure."""
        count = queryset.retry()
        transaction.on_commit(sweep.delay, robust=True)
        self.message_user(request, _("%d change(s) are tried again.") % count)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only an edit of an object adds a change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Changes are history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Read-only; the actions stay."""
        return obj is None and super().has_change_permission(request, obj)
