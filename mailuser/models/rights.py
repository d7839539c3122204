"""What mailboxes' users may do: the choice of the domain's owner, for all of them or for one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Domain
from accounts.viewers import Right
from history.models import Entry


def _right(right: Right) -> models.BooleanField[Any, Any]:
    return models.BooleanField(right.label, default=True, db_default=True)


def _deletes_what_he_sees(name: str) -> models.CheckConstraint:
    """Return the constraint that nobody deletes what he may not look at."""
    return models.CheckConstraint(
        name=name,
        condition=Q(remove=False) | Q(mail=True) | Q(archives=True),
        violation_error_message=_(
            "To delete, he has to be allowed to look at his mail or his archives."
        ),
    )


class Rights(models.Model):
    """A column for each Right, by its value; everything is allowed until somebody forbids it."""

    login = _right(Right.LOGIN)
    password = _right(Right.PASSWORD)
    mail = _right(Right.MAIL)
    archives = _right(Right.ARCHIVES)
    remove = _right(Right.DELETE)
    forward = _right(Right.FORWARD)
    reply = _right(Right.REPLY)

    class Meta:
        abstract = True

    def allow(self, right: Right) -> bool:
        """Say whether the right is given; without the login none is."""
        return bool(self.login and getattr(self, right.value))

    def given(self) -> dict[str, bool]:
        """Return the columns by name."""
        return {right.value: getattr(self, right.value) for right in Right}


class DomainRights(Rights):
    """What the users of a domain's mailboxes may do where nothing else was chosen for one."""

    domain = models.OneToOneField(
        Domain, models.CASCADE, primary_key=True, related_name="mailbox_rights"
    )

    class Meta:
        verbose_name = _("what mailboxes' users of a domain may do")
        verbose_name_plural = _("what mailboxes' users of domains may do")
        constraints = [_deletes_what_he_sees("domain_rights_delete_what_is_seen")]

    def __str__(self) -> str:
        return str(self.domain)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep it, and write into the domain's history what it changes."""
        with transaction.atomic():
            was = rights_in(self.domain_id)
            super().save(*args, **kwargs)
            if values := differences(was, self):
                name = self.domain.name
                Entry.objects.note("rights.domain", subject=name, domain=name, values=values)


class AccountRights(Rights):
    """What the user of one mailbox may do; goes with the account."""

    account = models.OneToOneField(
        Account, models.CASCADE, primary_key=True, related_name="mailbox_rights"
    )

    class Meta:
        verbose_name = _("what a mailbox's user may do")
        verbose_name_plural = _("what mailboxes' users may do")
        constraints = [_deletes_what_he_sees("account_rights_delete_what_is_seen")]

    def __str__(self) -> str:
        return str(self.account)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep it, and write into the domain's history what it changes."""
        with transaction.atomic():
            was = rights_of(self.account)
            super().save(*args, **kwargs)
            values = differences(was, self)
            if values or not isinstance(was, AccountRights):
                self._note(values)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Let the domain's choice count again; told likewise."""
        with transaction.atomic():
            usual = rights_in(self.account.domain_id)
            self._note(differences(self, usual) | {"usual": True})
            return super().delete(*args, **kwargs)

    def _note(self, values: dict[str, Any]) -> None:
        address, domain = self.account.address, self.account.domain.name
        Entry.objects.note("rights.mailbox", subject=address, domain=domain, values=values)


class Preference(models.Model):
    """What a mailbox's user has chosen for his own page."""

    account = models.OneToOneField(
        Account, models.CASCADE, primary_key=True, related_name="mailbox_preference"
    )
    language = models.CharField(_("language"), max_length=5, choices=settings.LANGUAGES)

    class Meta:
        verbose_name = _("preference of a mailbox's user")
        verbose_name_plural = _("preferences of mailboxes' users")

    def __str__(self) -> str:
        return f"{self.account}: {self.language}"


def differences(was: Rights, becomes: Rights) -> dict[str, Any]:
    """Return for the history which rights are given and which are taken, each if any."""
    before, after = was.given(), becomes.given()
    more = [name for name in after if after[name] and not before[name]]
    fewer = [name for name in after if before[name] and not after[name]]
    return {key: names for key, names in (("more", more), ("fewer", fewer)) if names}


def rights_of(account: Account) -> Rights:
    """Return what the account's user may do: his own, else the domain's, else everything."""
    own = AccountRights.objects.filter(account=account).first()
    return own or rights_in(account.domain_id)


def rights_in(domain_id: int) -> DomainRights:
    """Return what the users of a domain's mailboxes may do where they have nothing of their own."""
    found = DomainRights.objects.filter(domain=domain_id).first()
    return found or DomainRights(domain_id=domain_id)
