"""The operator's page for mail servers; that for what is on its way to them is panel's."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from propagation.models import MailServer


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
