"""The operator's pages for accounts and deleted accounts, which need forwarding as well."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin import OpeningAdmin, OpeningForm
from accounts.models import Account, DeletedAccount
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
    editable = ("quota_bytes",)
    actions = ["delete_after_the_delay"]

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Bring another mailbox size to the server."""
        if change and "quota_bytes" in form.changed_data:
            obj.resize(obj.quota_bytes, by=request.user)

    @admin.action(description=_("Delete after the delay"))
    def delete_after_the_delay(self, request: HttpRequest, queryset: Any) -> None:
        """Delete the chosen accounts, with the forwards that lead nowhere else."""
        for account in queryset.select_related("domain"):
            try:
                removal.delete_account(account, by=request.user)
            except ValidationError as error:
                words = f"{account}: {' '.join(error.messages)}"
                self.message_user(request, words, messages.ERROR)


@admin.register(DeletedAccount)
class DeletedAccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What lies in the trash, and can be brought back."""

    list_display = ["__str__", "server", "deleted_at", "kept_until"]
    list_select_related = ["domain", "server"]
    list_filter = ["server"]
    search_fields = ["name", "domain__name"]
    exclude = ["password_hash", "quota_bytes"]
    actions = ["restore"]

    @admin.action(description=_("Bring back with mail, password and forwards"))
    def restore(self, request: HttpRequest, queryset: Any) -> None:
        """Bring the chosen accounts back; one whose name is taken by now needs the command."""
        for deleted in queryset.select_related("domain", "server"):
            try:
                account = removal.restore_account(deleted, by=request.user)
            except ValidationError as error:
                hint = f"manage.py restore_account {deleted} --as NAME"
                words = f"{deleted}: {' '.join(error.messages)} ({hint})"
                self.message_user(request, words, messages.ERROR)
            else:
                self.message_user(request, _("%s will be back soon.") % account)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only a deletion adds one."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing here can be edited; the action stays."""
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The mail must go first: manage.py purge_trash."""
        return False
