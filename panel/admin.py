"""The operator's pages that need several apps: accounts, deleted accounts, the outbox."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin import AddressSearch, DoorForm, OpeningAdmin, OpeningForm, ReadOnly
from accounts.models import Account, DeletedAccount, Domain, OwnLimits, Plan
from accounts.names import readable_domain
from forwarding import removal
from forwarding.models import ForwardingAddress, MailingList
from propagation.cancel import cancel
from propagation.models import Change, TooLate
from propagation.sources import source_of, sources
from propagation.tasks import sweep

# What a record of each kind is, for the filter of the outbox.
KINDS: dict[str, type[Model]] = {
    "plan": Plan,
    "domain": Domain,
    "mailbox": Account,
    "address": ForwardingAddress,
    "list": MailingList,
}


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
    list_filter = ["server", "is_fixed", "ftp", "ssh"]
    search_fields = ["name", "domain__name"]
    autocomplete_fields = ["domain"]
    exclude = ["password_hash"]
    editable = (*OwnLimits.NAMES, "ftp", "ssh")
    shared = editable
    actions = ["delete_after_the_delay"]

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Bring the account's own limits and its FTP and SSH to the server."""
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


class RestoreForm(DoorForm):
    """Bring a deleted account back, under another name where the old one is taken."""

    restore_as = forms.CharField(
        label=_("Bring back under the name"),
        help_text=_("The old name, or another one if it has been taken since."),
    )

    blamed = "restore_as"

    class Meta:
        model = DeletedAccount
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Propose the old name."""
        super().__init__(*args, **kwargs)
        self.initial["restore_as"] = self.instance.name

    def act(self) -> None:
        """Bring the account back."""
        removal.restore_account(self.instance, name=self.cleaned_data["restore_as"], by=self.by)


@admin.register(DeletedAccount)
class DeletedAccountAdmin(AddressSearch):
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


class KindFilter(admin.SimpleListFilter):
    """The outbox by what its changes are about."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds in the order in which a server is rebuilt."""
        return [
            (kind, KINDS[kind]._meta.verbose_name_plural if kind in KINDS else kind)
            for kind in sources()
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the changes of the chosen kind."""
        return queryset.filter(key__startswith=f"{self.value()}:") if self.value() else queryset


@admin.register(Change)
class ChangeAdmin(ReadOnly, AddressSearch):
    """The outbox. Nothing is edited here; changes are moved by actions."""

    list_display = [
        *("words", "of_domain", "server", "state", "due_at", "ended_at", "attempts", "made_by")
    ]
    list_select_related = ["server", "made_by"]
    list_filter = ["state", "server", KindFilter]
    search_fields = ["key", "domain"]
    date_hierarchy = "made_at"
    # Named one by one, so that no secret is ever among them.
    fields = [
        *("words", "of_domain", "server", "state", "made_by", "made_by_mailbox"),
        *("made_at", "due_at", "started_at"),
        *("ended_at", "attempts", "retry_at", "cause", "trouble"),
        *("key", "before", "after", "renews_password"),
    ]
    actions = ["apply_now", "take_back", "retry"]

    @admin.display(description=_("change"), ordering="key")
    def words(self, obj: Change) -> str:
        """Say what the change does, as its customer reads it."""
        return source_of(obj.key).describe(obj)

    @admin.display(description=_("domain"), ordering="domain")
    def of_domain(self, obj: Change) -> str:
        """Return the domain's name in its own script."""
        return readable_domain(obj.domain)

    def at_address(self, local_part: str, domain: str) -> Q:
        """Find what is done to an address, by whatever kind of record."""
        mailbox = Q(key=f"mailbox:{local_part}", domain__startswith=domain)
        return mailbox | Q(key__contains=f":{local_part.removeprefix('*')}@{domain}")

    @admin.action(description=_("Apply now"))
    def apply_now(self, request: HttpRequest, queryset: Any) -> None:
        """Do not wait for the due time."""
        count = queryset.hurry()
        transaction.on_commit(sweep.delay, robust=True)
        self.message_user(request, _("%d change(s) are due now.") % count)

    @admin.action(description=_("Cancel"))
    def take_back(self, request: HttpRequest, queryset: Any) -> None:
        """Cancel pending changes; what belongs to them or depends on them goes with them."""
        try:
            groups = set(queryset.pending().values_list("group", flat=True))
            gone = cancel(Change.objects.pending().filter(group__in=groups))
        except TooLate:
            self.message_user(request, _("Too late: it is being applied."), messages.ERROR)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        else:
            self.message_user(request, _("%d change(s) cancelled.") % len(gone))

    @admin.action(description=_("Try again at once"))
    def retry(self, request: HttpRequest, queryset: Any) -> None:
        """Do not wait for the pause after a failure."""
        count = queryset.retry()
        transaction.on_commit(sweep.delay, robust=True)
        self.message_user(request, _("%d change(s) are tried again.") % count)
