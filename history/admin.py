"""The operator's view of the history. Nothing there can be changed."""

from django.contrib import admin

from history.models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The trail, the latest first."""

    list_display = ["at", "domain", "area", "what", "subject", "hand", "actor", "address"]
    list_filter = ["area", "hand"]
    search_fields = ["subject", "domain", "actor"]
    show_full_result_count = False

    def has_add_permission(self, request: object, obj: object = None) -> bool:
        """Nobody types it in."""
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        """Nobody edits it."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """It goes by its age alone."""
        return False
