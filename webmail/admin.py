"""The operator's list of the domains that have webmail."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin import OpeningAdmin, OpeningForm
from webmail.models import Webmail


class InstallForm(OpeningForm):
    """Webmail for a domain that has none."""

    class Meta:
        model = Webmail
        fields = ["domain"]

    def open(self) -> Webmail:
        """Install it."""
        domain = self.cleaned_data["domain"]
        Webmail.objects.install(domain, by=self.by)
        return Webmail.objects.get(domain=domain)


@admin.register(Webmail)
class WebmailAdmin(OpeningAdmin):
    """Domains with webmail: installed here where the plan leaves that to the operator."""

    add_form = InstallForm
    list_display = ["domain", "created_at"]
    list_select_related = ["domain"]
    search_fields = ["domain__name"]
    autocomplete_fields = ["domain"]
    actions = ["remove_webmail"]

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find the domain of an address."""
        return Q(domain__name__startswith=domain)

    @admin.action(description=_("Remove the webmail of the chosen domains"))
    def remove_webmail(self, request: HttpRequest, queryset: QuerySet[Webmail]) -> None:
        """Remove them, each after the usual time."""
        removed = 0
        for found in queryset.select_related("domain__server"):
            Webmail.objects.remove(found.domain, by=request.user)
            removed += 1
        words: Any = _("%(count)d will be removed.")
        self.message_user(request, words % {"count": removed})
