"""The operator's view of who looked at whose mail. Nothing there can be changed."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from remotemail.models import MailAccess


@admin.register(MailAccess)
class MailAccessAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The trail, the latest first."""

    list_display = ["at", "user_name", "address", "account_name", "action", "folder", "messages"]
    list_filter = ["action"]
    search_fields = ["account_name", "user_name"]
    date_hierarchy = "at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The pages of remote mail write it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A trail is not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Age alone removes what stands there."""
        return False
