"""The operator's page for forwarding addresses."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, OuterRef, Q, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin import AddressSearch, DoorForm, OpeningAdmin, OpeningForm
from accounts.names import readable_address
from forwarding.models import ForwardingAddress, MailingList, Member


class OpenForwardingForm(OpeningForm):
    """A new forwarding address."""

    destinations = forms.CharField(
        label=_("Destinations"), widget=forms.Textarea, help_text=_("One address per line.")
    )

    catch_all = forms.BooleanField(
        label=_("All other names"),
        required=False,
        help_text=_("The mail for every name that the domain does not have; leave the name empty."),
    )

    class Meta:
        model = ForwardingAddress
        fields = ["domain", "local_part"]

    def clean(self) -> dict[str, Any]:
        """Make the catch-all only where it was meant."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if bool(data.get("local_part")) == bool(data.get("catch_all")):
            raise ValidationError(_("Enter a name, or choose all other names."), code="which")
        return data

    def open(self) -> ForwardingAddress:
        """Open the address."""
        data = self.cleaned_data
        return ForwardingAddress.objects.open(
            domain=data["domain"],
            local_part=data["local_part"],
            destinations=data["destinations"].splitlines(),
            by=self.by,
        )


class LeadForm(DoorForm):
    """Where an address leads, by the rules of the customer's page."""

    destinations = forms.CharField(
        label=_("Destinations"), widget=forms.Textarea, help_text=_("One address per line.")
    )
    blamed = "destinations"

    class Meta:
        model = ForwardingAddress
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Show the present destinations."""
        super().__init__(*args, **kwargs)
        self.initial["destinations"] = "\n".join(map(readable_address, self.instance.leads_to()))

    def act(self) -> None:
        """Lead the address there; an edit of nothing shall not move the time of another."""
        if self.has_changed():
            lines = self.cleaned_data["destinations"].splitlines()
            self.instance.lead(lines, by=self.by)


@admin.register(ForwardingAddress)
class ForwardingAdmin(OpeningAdmin):
    """Forwarding addresses of every domain."""

    add_form = OpenForwardingForm
    change_form = LeadForm
    list_display = ["__str__", "destination_list", "domain"]
    list_select_related = ["domain"]
    list_filter = ["domain__server"]
    search_fields = ["local_part", "domain__name", "destinations__address"]
    autocomplete_fields = ["domain"]
    actions = ["delete_after_the_delay"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Fetch the destinations of a page at once."""
        return super().get_queryset(request).prefetch_related("destinations")

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find an address by itself, and by where it leads."""
        own = Q(local_part=local_part.removeprefix("*"), domain__name__startswith=domain)
        return own | Q(destinations__lowered__startswith=f"{local_part}@{domain}")

    @admin.display(description=_("Destinations"))
    def destination_list(self, obj: ForwardingAddress) -> str:
        """Return the destinations in one line."""
        return ", ".join(map(readable_address, obj.leads_to()))

    @admin.action(description=_("Delete after the delay"))
    def delete_after_the_delay(self, request: HttpRequest, queryset: Any) -> None:
        """Withdraw the chosen addresses."""
        _withdraw(self, request, queryset)


@admin.register(MailingList)
class MailingListAdmin(AddressSearch):
    """Mailing lists of every domain, to look at; members are the customer's own business."""

    list_display = ["__str__", "title", "member_count", "posters", "domain"]
    list_select_related = ["domain"]
    list_filter = ["domain__server", "posters"]
    search_fields = ["local_part", "domain__name", "title", "members__address"]
    # Named one by one, so that the key of the members' links is never among them.
    fields = ("domain", "local_part", "title", "owner_address", "posters", "member_count")
    readonly_fields = fields
    actions = ["delete_after_the_delay"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Count the members of a page at once."""
        # By a query of its own: a search for a member would count that one alone.
        members = Member.objects.filter(mailing_list=OuterRef("pk"), left_at=None).order_by()
        counts = members.values("mailing_list").annotate(count=Count("pk")).values("count")
        return super().get_queryset(request).annotate(members_now=Subquery(counts))

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find a list by itself, and by its members."""
        own = Q(local_part=local_part, domain__name__startswith=domain)
        return own | Q(members__lowered__startswith=f"{local_part}@{domain}")

    @admin.display(description=_("members"))
    def member_count(self, obj: Any) -> int:
        """Return how many members the list has."""
        return int(obj.members_now or 0)

    @admin.action(description=_("Delete after the delay"))
    def delete_after_the_delay(self, request: HttpRequest, queryset: Any) -> None:
        """Withdraw the chosen lists."""
        _withdraw(self, request, queryset)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The customer makes lists; for the operator there is manage.py add_list."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deletion goes through propagation, by an action."""
        return False


def _withdraw(page: Any, request: HttpRequest, queryset: Any) -> None:
    """Delete the chosen rows after the delay; say which may not go."""
    for row in queryset:
        try:
            row.withdraw(by=request.user)
        except ValidationError as error:
            page.message_user(request, " ".join(error.messages), messages.ERROR)
