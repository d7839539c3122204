"""The operator's pages: what is offered, what was ordered, and what customers wrote."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from accounts.admin import AddressSearch, DoorForm, OpeningAdmin, OpeningForm, ReadOnly
from accounts.models import MEGABYTE
from orders import billing
from orders.models import Inquiry, Option, OptionKind, Order
from orders.models.orders import LONGEST_REASON, ordered_account


class OptionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An option, of which people write sizes in MB."""

    amount = forms.IntegerField(
        label=gettext_lazy("how much more"),
        min_value=1,
        max_value=2**31 - 1,
        help_text=gettext_lazy("Accounts; or MB for a mailbox or messages."),
    )

    class Meta:
        model = Option
        fields = ["kind", "amount", "setup_yen", "is_offered"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Show an option that is there in the same unit."""
        super().__init__(*args, **kwargs)
        if self.instance.pk and self.instance.of_an_account:
            self.initial["amount"] = self.instance.amount // MEGABYTE

    def clean(self) -> dict[str, Any]:
        """Return the amount in bytes, of what has bytes."""
        data = super().clean() or {}
        if "amount" in data and "kind" in data and OptionKind(data["kind"]).of_an_account:
            same = not {"amount", "kind"} & set(self.changed_data)
            data["amount"] = self.instance.amount if same else data["amount"] * MEGABYTE
        return data


@admin.register(Option)
class OptionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What customers can order, and its price. Another price counts for the orders after it."""

    form = OptionForm
    list_display = ["__str__", "setup_yen", "is_offered"]
    list_filter = ["kind", "is_offered"]


class AskForm(OpeningForm):
    """An order for a customer who cannot, or did not, order in the panel."""

    option = forms.ModelChoiceField(Option.objects.offered(), label=gettext_lazy("option"))
    account = forms.CharField(
        label=gettext_lazy("POP account"),
        required=False,
        help_text=gettext_lazy("For a larger mailbox or larger messages: the account's name."),
    )

    class Meta:
        model = Order
        fields = ["domain", "quantity"]

    def open(self) -> Order:
        """Order it."""
        data, option = self.cleaned_data, self.cleaned_data["option"]
        account = None
        if option.of_an_account:
            account = ordered_account(data["domain"], data["account"])
        return Order.objects.ask(
            domain=data["domain"],
            option=option,
            account=account,
            quantity=1 if account else data["quantity"],
            by=self.by,
        )


class DecideForm(DoorForm):
    """What the operator decides on one order."""

    decision = forms.ChoiceField(
        label=gettext_lazy("Decision"),
        choices=[("grant", gettext_lazy("Grant")), ("refuse", gettext_lazy("Refuse"))],
        widget=forms.RadioSelect,
    )
    because = forms.CharField(
        label=gettext_lazy("Reason of a refusal"),
        max_length=LONGEST_REASON,
        required=False,
        help_text=gettext_lazy("The customer reads it."),
    )

    blamed = "decision"

    class Meta:
        model = Order
        fields: tuple[str, ...] = ()

    def act(self) -> None:
        """Grant or refuse it."""
        if self.cleaned_data["decision"] == "grant":
            self.instance.grant(by=self.by)
        else:
            self.instance.refuse(self.cleaned_data["because"], by=self.by)


class WithReason(ActionForm):
    """The bar of actions, with the reason for which orders are refused."""

    because = forms.CharField(
        label=gettext_lazy("Reason of a refusal"), max_length=LONGEST_REASON, required=False
    )


@admin.register(Order)
class OrderAdmin(OpeningAdmin):
    """Orders, the newest first. One is decided on its own page, many by an action."""

    add_form = AskForm
    change_form = DecideForm
    list_display = ["what", "address", "price", "state", "asked_at"]
    list_select_related = ["domain"]
    list_filter = ["state", "kind"]
    search_fields = ["account_name", "domain__name", "domain__customer__name"]
    autocomplete_fields = ["domain"]
    date_hierarchy = "asked_at"
    exclude = ["account_id"]
    action_form = WithReason
    actions = ["grant_orders", "refuse_orders"]
    change_list_template = "admin/orders/order/change_list.html"

    @admin.display(description=gettext_lazy("option"), ordering="kind")
    def what(self, obj: Order) -> str:
        """Return what was ordered, as its customer reads it."""
        return obj.what

    @admin.display(description=pgettext_lazy("order", "for"), ordering="domain__name")
    def address(self, obj: Order) -> str:
        """Return the account's address, or the domain."""
        return f"{obj.account_name}@{obj.domain}" if obj.account_name else str(obj.domain)

    @admin.display(description=gettext_lazy("price"))
    def price(self, obj: Order) -> str:
        """Return the price of all of it."""
        return obj.price

    @admin.display(description=gettext_lazy("limit before"))
    def before(self, obj: Order) -> str:
        """Return the limit that there was, as people write it."""
        return "" if obj.limit_before is None else obj.of.figure(obj.limit_before)

    @admin.display(description=gettext_lazy("limit after"))
    def after(self, obj: Order) -> str:
        """Return the limit that was granted, likewise."""
        return "" if obj.limit_after is None else obj.of.figure(obj.limit_after)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show amounts in the units in which people write them."""
        shown = {"amount": "what", "limit_before": "before", "limit_after": "after"}
        return [shown.get(name, name) for name in super().get_readonly_fields(request, obj)]

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find the orders for an account."""
        return Q(account_name=local_part, domain__name__startswith=domain)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for a decision as long as there is one to make."""
        if obj is None or obj.is_open:
            return super().get_fields(request, obj)
        return self.get_readonly_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was decided stays."""
        return super().has_change_permission(request, obj) and (obj is None or obj.is_open)

    @admin.action(description=gettext_lazy("Grant the chosen orders"), permissions=["change"])
    def grant_orders(self, request: HttpRequest, queryset: Any) -> None:
        """Grant each by itself; say which cannot be."""
        done = self._each(request, queryset, lambda order: order.grant(by=request.user))
        if done:
            words = ngettext("%(count)d order granted.", "%(count)d orders granted.", done)
            self.message_user(request, words % {"count": done})

    @admin.action(description=gettext_lazy("Refuse the chosen orders"), permissions=["change"])
    def refuse_orders(self, request: HttpRequest, queryset: Any) -> None:
        """Refuse each, with the reason typed beside the action."""
        reason = request.POST.get("because", "")
        if not reason.strip():
            self.message_user(request, _("Give a reason: the customer reads it."), messages.ERROR)
            return
        done = self._each(request, queryset, lambda order: order.refuse(reason, by=request.user))
        if done:
            words = ngettext("%(count)d order refused.", "%(count)d orders refused.", done)
            self.message_user(request, words % {"count": done})

    def _each(self, request: HttpRequest, orders: Any, act: Any) -> int:
        """Do something with each order, the oldest first; return for how many it went well."""
        done = 0
        for order in orders.select_related("domain__plan").order_by("asked_at", "pk"):
            try:
                act(order)
            except ValidationError as error:
                words = f"{order}: {' '.join(error.messages)}"
                self.message_user(request, words, messages.ERROR)
            else:
                done += 1
        return done

    def get_urls(self) -> list[Any]:
        """Add the yearly list."""
        own = path(
            "billing/", self.admin_site.admin_view(self.billing), name="orders_order_billing"
        )
        return [own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Lead to the yearly lists."""
        context = {"years": billing.years(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def billing(self, request: HttpRequest) -> HttpResponse:
        """Send the list of one year for billing."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("year", "")
        year = int(asked) if asked.isascii() and asked.isdigit() and len(asked) == 4 else 0
        if not billing.FIRST <= year <= billing.LAST:
            raise Http404
        name = f'attachment; filename="plusmail-options-{year}.csv"'
        headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
        kind = "text/csv; charset=utf-8"
        return HttpResponse(billing.yearly_list(year), content_type=kind, headers=headers)


@admin.register(Inquiry)
class InquiryAdmin(ReadOnly, AddressSearch):
    """What customers wrote by “Contact us”; what is not from the fixed address is marked."""

    list_display = ["subject", "domain", "sender", "from_fixed", "written_at", "mailed_at"]
    list_select_related = ["domain"]
    list_filter = ["from_fixed"]
    search_fields = ["domain__name", "domain__customer__name", "sender", "subject"]
    date_hierarchy = "written_at"

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find by the sender."""
        return Q(sender__startswith=f"{local_part}@{domain}")
