"""The operator's pages of what the mail servers tell: who is guessed at, whose mailbox is full.

Figures of sending are on the customers' pages.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin import AddressSearch, ReadOnly
from quota.archiving.admin import ArchiveAdmin, ArchiveJobAdmin, ArchiveRunAdmin
from quota.fill import fill_of
from quota.models import ALMOST, FULL, NEARLY, Guessing, MailboxUsage, Notice

__all__ = [
    "ArchiveAdmin",
    "ArchiveJobAdmin",
    "ArchiveRunAdmin",
    "GuessingAdmin",
    "MailboxUsageAdmin",
    "NoticeAdmin",
]


class Told(ReadOnly, AddressSearch):
    """Shows rows about accounts that nobody types in, found by address, name or domain."""

    list_select_related = ["account__domain"]
    search_fields = ["account__name__startswith", "account__domain__name__startswith"]

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find by the account's address."""
        return Q(account__name=local_part, account__domain__name__startswith=domain)


class FillFilter(admin.SimpleListFilter):
    """Mailboxes by how full they are."""

    title = gettext_lazy("how full")
    parameter_name = "fill"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices, by the least percentage."""
        return [
            (str(FULL), gettext_lazy("full")),
            (str(ALMOST), gettext_lazy("95% and more")),
            (str(NEARLY), gettext_lazy("80% and more")),
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the chosen ones, by the index."""
        return queryset.at_least(int(self.value() or 0)) if self.value() else queryset


@admin.register(MailboxUsage)
class MailboxUsageAdmin(Told):
    """How full mailboxes are, the fullest first."""

    list_display = ["account", "shown", "messages", "asked_at"]
    list_filter = [FillFilter]

    @admin.display(description=gettext_lazy("used"), ordering="percent")
    def shown(self, obj: MailboxUsage) -> str:
        """Return the figures as people write them."""
        return fill_of(obj).words


@admin.register(Notice)
class NoticeAdmin(Told):
    """What was written to accounts and their customers, and when it went out."""

    list_display = ["account", "kind", "written_at", "to_account_at", "to_customer_at"]
    list_filter = ["kind"]


@admin.register(Guessing)
class GuessingAdmin(ReadOnly):
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
