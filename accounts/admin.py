"""The operator's pages for logins, plans, customers and domains. No hash is ever shown."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import Customer, Domain, Plan, User


class SetPasswordLink(forms.Widget):
    """Leads to the page for a new password, and shows nothing of the present one."""

    read_only = True

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return a link, whatever the value is."""
        return format_html('<a class="button" href="../password/">{}</a>', _("Set a new password"))


class OpeningForm(forms.ModelForm):  # type: ignore[type-arg]
    """An add form whose object is made by the model's own door, `open()`.

    The page runs in one transaction; what open() refuses stands on the form.
    """

    by: Any = None

    def open(self) -> Any:
        """Create the object from `cleaned_data`."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        if self.errors or not self.instance._state.adding:
            return
        try:
            self.instance = self.open()
        except ValidationError as error:
            self.add_error(None, error.messages)

    def save(self, commit: bool = True) -> Any:
        """Return what open() made."""
        return self.instance

    def _save_m2m(self) -> None:
        """Leave it to open(), which has."""

    save_m2m = _save_m2m


class OpeningAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Adds by an OpeningForm, and shows everything else read-only unless said otherwise."""

    add_form: type[OpeningForm]
    editable: tuple[str, ...] = ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Use the add form for a new object."""
        if obj is None:
            kwargs["form"] = type("AddForm", (self.add_form,), {"by": request.user})
            kwargs["fields"] = self.add_form._meta.fields
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
        """Save nothing: the add form has, and the rest is read-only."""

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
    list_display = ["name", "customer", "plan", "server", "certificate_until"]
    list_select_related = ["customer", "plan", "server"]
    list_filter = ["server", "plan"]
    search_fields = ["name", "customer__name"]
    autocomplete_fields = ["customer"]
