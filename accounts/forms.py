"""Forms of the User Manager: text in, reasons next to fields; the rules are the models'."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.utils.translation import gettext_lazy as _

from accounts import names, passwords
from accounts.models import NAME_TAKEN, Account, Domain


class MailboxPasswordField(forms.CharField):
    """A new password of a mailbox; what was typed is not lost by an error elsewhere."""

    def __init__(self, **kwargs: Any) -> None:
        """Show dots, and tell browsers that this is a new password."""
        attrs = {"autocomplete": "new-password", "autocapitalize": "none", "spellcheck": "false"}
        widget = forms.PasswordInput(render_value=True, attrs=attrs)
        super().__init__(label=_("Password"), strip=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> str:
        """Return an accepted password."""
        password: str = super().clean(value)
        passwords.check(password)
        return password

    def show(self) -> None:
        """Show the password in clear: it was just generated and has to be copied."""
        self.widget.input_type = "text"


def add_model_errors(form: forms.Form, error: ValidationError) -> None:
    """Put a model's reasons next to the fields of the form; the rest above it."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for field, errors in error.error_dict.items():
        taken = [one for one in errors if one.code == NAME_TAKEN]
        for one in errors:
            place = "name" if one in taken or field == "name" else field
            form.add_error(place if place in form.fields else None, one)


class PageForm(forms.Form):
    """A form that knows where on its page to go on."""

    generated = False  # whether its password was just made, and is shown

    @property
    def focus(self) -> str:
        """The first field with an error, which gets the focus; "" where there is none."""
        return next((name for name in self.fields if self.has_error(name)), "")


class OpenAccountForm(PageForm):
    """Add a POP account."""

    name = forms.CharField(
        label=_("Account name"),
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    password = MailboxPasswordField()

    def __init__(self, *args: Any, domain: Domain, by: Any, **kwargs: Any) -> None:
        """Take the domain to which the account is to belong, and who asks for it."""
        super().__init__(*args, **kwargs)
        self.domain = domain
        self.by = by

    def clean_name(self) -> str:
        """Return the name in its stored form."""
        return self._stored(self.cleaned_data["name"])

    def _stored(self, typed: str) -> str:
        # Who types the whole address means the part before this domain's @.
        return names.clean_mailbox_name(typed.strip().removesuffix(f"@{self.domain.name}"))

    def save(self) -> Account | None:
        """Open the account, or put the reason why not on the form."""
        try:
            return Account.objects.open(domain=self.domain, by=self.by, **self.cleaned_data)
        except ValidationError as error:
            add_model_errors(self, error)
            return None

    def taken_name(self) -> str:
        """Return the name if the only thing wrong is that somebody has it; else ""."""
        if self.errors.keys() != {"name"} or not self.has_error("name", NAME_TAKEN):
            return ""
        # Not from cleaned_data, where a field with an error is no longer found.
        return self._stored(self.data["name"])


class PasswordForm(PageForm):
    """Give an account another password."""

    password = MailboxPasswordField()

    def save(self, account: Account, *, by: Any) -> bool:
        """Set the password, or put the reason why not on the form."""
        try:
            account.set_password(self.cleaned_data["password"], by=by)
        except ValidationError as error:
            self.add_error("password" if not hasattr(error, "error_dict") else None, error)
            return False
        return True


class OwnPasswordForm(PasswordForm):
    """Give the mailbox that one is logged in to another password: an open browser is no proof."""

    present = forms.CharField(
        label=_("Present password"),
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        """Take the account whose present password is asked for."""
        super().__init__(*args, **kwargs)
        self.account = account

    def clean_present(self) -> str:
        """Raise ValidationError unless it is the account's."""
        present: str = self.cleaned_data["present"]
        if not passwords.verify_evenly(present, self.account.password_hash):
            raise ValidationError(_("This is not the present password."), code="present")
        return present


class ListForm(forms.Form):
    """Search and order of a list, from the query string; anything odd is the default."""

    q = forms.CharField(required=False, max_length=64)
    sort = forms.ChoiceField(
        required=False,
        choices=[("name", "name"), ("-name", "-name"), ("created", ""), ("-created", "")],
    )

    def text(self) -> str:
        """Return what to look for."""
        self.is_valid()
        return str(self.cleaned_data.get("q", "")).strip().lower()

    def order(self) -> str:
        """Return the order that was asked for."""
        self.is_valid()
        return self.cleaned_data.get("sort") or "name"


class LoginForm(AuthenticationForm):
    """The panel's login."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keep telephones from capitalising the name."""
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("Login name")
        # Checked here: what is longer is no name of ours, and columns behind it are short.
        self.fields["username"].validators.append(MaxLengthValidator(150))
        self.fields["username"].widget.attrs["spellcheck"] = "false"
