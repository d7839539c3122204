"""The operator's view of the imports. Nothing there is changed."""

from django.contrib import admin

from accounts.admin import ReadOnly
from bulk.models import Import


@admin.register(Import)
class ImportAdmin(ReadOnly):
    """Imports that customers asked for."""

    list_display = ["file_name", "domain", "kind", "state", "asked_by", "made_at", "ended_at"]
    list_select_related = ["domain", "asked_by"]
    list_filter = ["state", "kind"]
    search_fields = ["file_name", "domain__name"]
    exclude = ["sealed_seed"]
    date_hierarchy = "made_at"
