"""Forms: the panel's login, as mailboxes' users see it too, and what these may do."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.forms import LoginForm
from accounts.viewers import Right
from mailuser.models import AccountRights, DomainRights
from mailuser.sessions import MailboxUser


class PanelLoginForm(LoginForm):
    """The one login form of the panel, for logins and for mailboxes' users."""

    error_messages = {
        **LoginForm.error_messages,
        "invalid_login": _(
            "The login name or the password is wrong. For the page of a mailbox enter its whole "
            "address, such as tanaka@example.com, and the password for receiving mail."
        ),
    }

    def confirm_login_allowed(self, user: Any) -> None:
        """Raise ValidationError for a mailbox's user who may not come in, the password being right.

        Nobody else learns any of it.
        """
        if not isinstance(user, MailboxUser):
            return super().confirm_login_allowed(user)
        if not user.alone:
            raise ValidationError(
                _(
                    "More than one account has this name. Enter the whole address, such as "
                    "tanaka@example.com."
                ),
                code="address",
            )
        if user.is_leaving():
            raise ValidationError(_("This account is being deleted."), code="leaving")
        if not user.may(Right.LOGIN):
            raise ValidationError(
                _("The owner of the domain has not allowed this for your mailbox."), code="right"
            )
        return None


RIGHTS = [right.value for right in Right]


class DomainRightsForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the users of a domain's mailboxes may do."""

    class Meta:
        model = DomainRights
        fields = RIGHTS


class AccountRightsForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the user of one mailbox may do."""

    class Meta:
        model = AccountRights
        fields = RIGHTS
