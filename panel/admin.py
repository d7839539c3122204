"""The operator's pages for accounts and deleted accounts, which need forwarding as well."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin import OpeningAdmin, OpeningForm
from accounts.models import Account, DeletedAccount, OwnLimits
from forwarding import removal


class OpenAccountAdminForm(OpeningForm):
    """A new POP account."""

    password = forms.CharField(label=_("Password"), strip=False, widget=forms.PasswordInput)

    class Meta:
        model = Account
        fields = ["domain", "name"]

    def open(self) -> Account:
        """Open the account."""
        return Account.objects.open(by=self.by, **self.cleaned_data)


@admin.register(Account)
class AccountAdmin(OpeningAdmin):
    """POP accounts of every domain."""

    add_form = OpenAccountAdminForm
    list_display = ["name", "domain", "server", "is_fixed", "created_at"]
    list_select_related = ["domain", "server"]
    list_filter = ["server", "is_fixed"]
    search_fields = ["name", "domain__name"]
    autocomplete_fields = ["domain"]
    exclude = ["password_hash"]
    editable = OwnLimits.NAMES
    actions = ["delete_after_the_delay"]

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Bring the account's own limits to the server."""
        if change and form.changed_data:
            limits = {name: getattr(obj, name) for name in form.changed_data}
            obj.limit(by=request.user, **limits)

    @admin.action(description=_("Delete after the delay"))
    def delete_after_the_delay(self, request: HttpRequest, queryset: Any) -> None:
        """Delete the chosen accounts, with the forwards that lead nowhere else."""
        for account in queryset.select_related("domain"):
            try:
                removal.delete_account(account, by=request.user)
            except ValidationError as error:
                words = f"{account}: {' '.join(error.messages)}"
                self.message_user(request, words, messages.ERROR)


class RestoreForm(forms.ModelForm):  # type: ignore[type-arg]
    """Bring a deleted account back, under another name where the old one is taken."""

    by: Any = None
    restore_as = forms.CharField(
        label=_("Bring back under the name"),
        help_text=_("The old name, or another one if it has been taken since."),
    )

    class Meta:
        model = DeletedAccount
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Propose the old name."""
        super().__init__(*args, **kwargs)
        self.initial["restore_as"] = self.instance.name

    def _post_clean(self) -> None:
        if self.errors:
            return
        try:
            removal.restore_account(self.instance, name=self.cleaned_data["restore_as"], by=self.by)
        except ValidationError as error:
            self.add_error("restore_as", error.messages)

    def save(self, commit: bool = True) -> Any:
        """Return the object; the account is back already."""
        return self.instance

    def _save_m2m(self) -> None:
        """Nothing is left to save."""

    save_m2m = _save_m2m


@admin.register(DeletedAccount)
class DeletedAccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What lies in the trash. Saving an object's page brings the account back."""

    form = RestoreForm
    list_display = ["__str__", "server", "deleted_at", "kept_until"]
    list_select_related = ["domain", "server"]
    list_filter = ["server"]
    search_fields = ["name", "domain__name"]
    fields = ["domain", "server", "name", "deleted_at", "kept_until", "restore_as"]
    readonly_fields = ["domain", "server", "name", "deleted_at", "kept_until"]
    actions = ["restore"]

    @admin.display(description=_("kept until"))
    def kept_until(self, obj: DeletedAccount) -> Any:
        """When the mail is removed for good."""
        return obj.kept_until

    @admin.action(description=_("Bring back with mail, password and forwards"))
    def restore(self, request: HttpRequest, queryset: Any) -> None:
        """Bring the chosen accounts back; one whose name is taken by now needs its own page."""
        for deleted in queryset.select_related("domain", "server"):
            try:
                account, left_out = removal.restore_account(deleted, by=request.user)
            except ValidationError as error:
                hint = _("Open it to bring it back under another name.")
                words = f"{deleted}: {' '.join(error.messages)} {hint}"
                self.message_user(request, words, messages.ERROR)
            else:
                self.message_user(request, _("%s will be back soon.") % account)
                for forwarding in left_out:
                    words = _("%s is full and does not lead to it again.") % forwarding
                    self.message_user(request, words, messages.WARNING)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what is on its way back already."""
        return super().get_queryset(request).filter(restored_at=None, removed_at=None)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Let the form know who asks."""
        kwargs["form"] = type("RestoreForm", (RestoreForm,), {"by": request.user})
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save nothing: the form has brought the account back."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only a deletion adds one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The mail must go first: manage.py purge_trash."""
        return False
