"""The operator's pages for logins, plans, customers and domains. No hash is ever shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts import names
from accounts.models import Customer, Domain, Plan, User


class SetPasswordLink(forms.Widget):
    """Leads to the page for a new password, and shows nothing of the present one."""

    read_only = True

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return a link, whatever the value is."""
        return format_html('<a class="button" href="../password/">{}</a>', _("Set a new password"))


class DoorForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose object is edited by one of the model's own doors.

    The page runs in one transaction; what the door refuses stands on the form, next to
    the field `blamed`.
    """

    by: Any = None
    blamed: str | None = None

    def act(self) -> None:
        """Do with `self.instance` what `cleaned_data` says."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        if self.errors:
            return
        try:
            self.act()
        except ValidationError as error:
            self.add_error(self.blamed, error.messages)

    def save(self, commit: bool = True) -> Any:
        """Return the object, which the door has saved."""
        return self.instance

    def _save_m2m(self) -> None:
        """Leave it to the door, which has."""

    save_m2m = _save_m2m


class OpeningForm(DoorForm):
    """An add form whose object is made by the model's own door, `open()`."""

    def open(self) -> Any:
        """Create the object from `cleaned_data`."""
        raise NotImplementedError

    def act(self) -> None:
        """Open the object."""
        self.instance = self.open()


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows rows that the panel or its mail servers write. Nobody types them in, edits or deletes
    them; what can be done with them are the class's actions.
    """

    # To count all rows takes longer than the page.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody types it in."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are not edited; actions are offered to those who might."""
        may_act = obj is None and bool(self.actions)
        return may_act and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is deleted here would come again, or be missed in a report."""
        return False


class AddressSearch(admin.ModelAdmin):  # type: ignore[type-arg]
    """Finds by a whole address, or its beginning, and by domains as people write them."""

    def at_address(self, local_part: str, domain: str) -> Q:
        """Return the condition for `local_part` at a domain whose name begins like this.

        As it stands for rows with a name and a domain, such as accounts.
        """
        return Q(name=local_part, domain__name__startswith=domain)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Return the rows, and whether one may be there twice."""
        local_part, at, domain = search_term.strip().rpartition("@")
        domain = names.stored_domain(domain)
        if at:
            return queryset.filter(self.at_address(local_part.lower(), domain)), True
        return super().get_search_results(request, queryset, domain)


class OpeningAdmin(AddressSearch):
    """Adds by an OpeningForm, and shows everything else read-only unless said otherwise."""

    add_form: type[OpeningForm]
    change_form: type[DoorForm] | None = None
    editable: tuple[str, ...] = ()
    #: Of them, what others change meanwhile: saved only where this page's reader has changed it.
    shared: tuple[str, ...] = ()

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Let a form carry what it has shown of `shared`, to compare with when it comes back."""
        if db_field.name in self.shared:
            kwargs["show_hidden_initial"] = True
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Use the add form for a new object, and the change form, if any, for another."""
        form = self.add_form if obj is None else self.change_form
        if form:
            kwargs["form"] = type("Form", (form,), {"by": request.user})
            kwargs["fields"] = form._meta.fields
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for what the add form needs; show everything later."""
        if obj is None:
            return list(self.add_form.base_fields)
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Lock what was settled when the object was made."""
        if obj is None:
            return ()
        fields = [field.name for field in self.opts.fields if field.name not in self.editable]
        return [name for name in fields if name not in (self.exclude or ())]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save nothing: the forms have, and the rest is read-only."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deletion goes through propagation, by an action."""
        return False


class LoginChangeForm(UserChangeForm):  # type: ignore[type-arg]
    """A login's page; of the password it shows only the way to set another one."""

    password = forms.CharField(
        label=_("Password"), required=False, disabled=True, widget=SetPasswordLink
    )


@admin.register(User)
class LoginAdmin(UserAdmin):  # type: ignore[type-arg]
    """Logins of operators and customers."""

    form = LoginChangeForm
    fieldsets = (*(UserAdmin.fieldsets or ()), (None, {"fields": ["language"]}))
    # Nobody types these in; and Django's boxes for them name neither their fields nor themselves.
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = ()


admin.site.unregister(Group)


@admin.register(Group)
class PermissionsAdmin(GroupAdmin):
    """What operators may do who may not do everything."""

    filter_horizontal = ()


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What customers can buy."""

    list_display = ["name_ja", "name_en", "account_limit", "self_service", "is_sample"]
    list_filter = ["self_service", "is_sample"]
    search_fields = ["code", "name_ja", "name_en"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Lock the code, by which the mail servers know the plan."""
        return ["code"] if obj else []


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Who owns domains."""

    list_display = ["name", "user"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username"]
    autocomplete_fields = ["user"]


class OpenDomainForm(OpeningForm):
    """A new domain with its fixed account."""

    password = forms.CharField(
        label=_("Password of the fixed account"),
        required=False,
        strip=False,
        widget=forms.PasswordInput,
        help_text=_("Empty: nobody can log in until the customer sets one in the User Manager."),
    )

    class Meta:
        model = Domain
        fields = ["customer", "name", "plan", "server"]

    def open(self) -> Domain:
        """Open the domain."""
        return Domain.objects.open(by=self.by, **self.cleaned_data)


@admin.register(Domain)
class DomainAdmin(OpeningAdmin):
    """Hosted domains."""

    add_form = OpenDomainForm
    editable = ("plan", "extra_accounts")
    shared = ("extra_accounts",)
    list_display = ["readable_name", "customer", "plan", "server", "certificate_until"]
    list_select_related = ["customer", "plan", "server"]
    list_filter = ["server", "plan"]
    search_fields = ["name", "customer__name"]
    autocomplete_fields = ["customer"]

    @admin.display(description=_("domain name"), ordering="name")
    def readable_name(self, obj: Domain) -> str:
        """Return the name in its own script."""
        return str(obj)

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find the domain of an address."""
        return Q(name__startswith=domain)

    def save_model(self, request: HttpRequest, obj: Domain, form: Any, change: bool) -> None:
        """Bring another plan to the server; fewer accounts than there are are allowed, and said."""
        if not change or not form.changed_data:
            return
        if "extra_accounts" in form.changed_data:
            obj.set_extra_accounts(obj.extra_accounts, by=request.user)
        if "plan" in form.changed_data:
            obj.change_plan(obj.plan, by=request.user)
        obj.refresh_from_db(fields=["extra_accounts"])
        used, limit = obj.accounts.count(), obj.account_limit
        if used > limit:
            words = _(
                "The limit is now %(limit)d accounts, and %(domain)s uses %(used)d. They stay; "
                "none can be added before there are fewer."
            )
            values = {"domain": obj, "used": used, "limit": limit}
            self.message_user(request, words % values, messages.WARNING)
