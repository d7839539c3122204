"""The operator's page for guessing of passwords; figures of sending are on the customers' pages."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from quota.archiving.admin import ArchiveAdmin, ArchiveJobAdmin, ArchiveRunAdmin
from quota.models import Guessing

__all__ = ["ArchiveAdmin", "ArchiveJobAdmin", "ArchiveRunAdmin", "GuessingAdmin"]


@admin.register(Guessing)
class GuessingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Whose passwords are guessed at, and the way to lift what follows."""

    list_display = ["account", "wrong", "slowed_until", "refused_until", "told_at", "lift_asked_at"]
    list_select_related = ["account__domain"]
    search_fields = ["account__name", "account__domain__name"]
    actions = ["lift"]

    @admin.action(description=gettext_lazy("Lift: forget these wrong passwords"))
    def lift(self, request: HttpRequest, queryset: Any) -> None:
        """Ask the mail servers to forget the wrong passwords."""
        names = ", ".join(queryset.values_list("account__name", flat=True))
        if queryset.order_by().lift():
            words = _("Within a minute the wrong passwords for %(name)s are forgotten.")
            messages.success(request, words % {"name": names})

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Mail servers tell of it; nobody types it in."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the list is shown: its action is all there is to do."""
        return obj is None and bool(super().has_change_permission(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is deleted here would come again."""
        return False
