"""Who looked at an account's mail on the server, and what for: a trail that nobody edits."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Domain, User


class Action(models.TextChoices):
    """What somebody did with an account's mail."""

    LIST = "list", _("Looked at the list")
    READ = "read", _("Read a message")
    DOWNLOAD = "download", _("Downloaded a message")
    DELETE = "delete", _("Deleted")


class MailAccessQuerySet(models.QuerySet["MailAccess"]):
    """Which accesses."""

    def note(
        self,
        *,
        by: Any,
        account: Account,
        action: Action,
        address: str,
        folder: str,
        messages: int | None = None,
        asked: int | None = None,
        size: int | None = None,
    ) -> MailAccess:
        """Write one down, before anything is shown or done. `by`: a login, or a mailbox's user."""
        return self.create(
            user=by if isinstance(by, User) else None,
            user_name=by.get_username()[:150],
            domain=account.domain,
            account_id=account.pk,
            account_name=account.address,
            action=action,
            address=address or None,
            folder=folder[:200],
            messages=messages,
            asked=asked,
            size=size,
        )

    def of(self, account: Account) -> MailAccessQuerySet:
        """Return those to one account's mail: never those of an earlier one of its name."""
        return self.filter(account_id=account.pk)

    def prune(self) -> int:
        """Remove what is older than MAIL_ACCESS_DAYS; return how many."""
        before = now() - timedelta(days=settings.MAIL_ACCESS_DAYS)
        return self.filter(at__lt=before).delete()[0]


class MailAccess(models.Model):
    """One access, by a customer or the mailbox's own user.

    Names stay readable after account and login are gone.
    """

    at = models.DateTimeField(_("time"), default=now, db_index=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("login"),
        editable=False,
    )
    user_name = models.CharField(_("login's name"), max_length=150, editable=False)
    address = models.GenericIPAddressField(_("Internet address"), null=True, editable=False)
    domain = models.ForeignKey(
        Domain,
        models.SET_NULL,
        null=True,
        related_name="mail_accesses",
        verbose_name=_("domain"),
        editable=False,
    )
    # No foreign key: the trail outlives the account.
    account_id = models.UUIDField(default=uuid.uuid4, editable=False)
    account_name = models.CharField(_("POP account"), max_length=320, editable=False)
    action = models.CharField(_("access"), max_length=10, choices=Action.choices, editable=False)
    folder = models.CharField(_("folder"), max_length=200, editable=False)
    # None for a deletion of which nobody heard the end; `asked` says how many it was about.
    messages = models.PositiveIntegerField(_("messages"), null=True, editable=False)
    asked = models.PositiveIntegerField(_("messages asked for"), null=True, editable=False)
    size = models.PositiveBigIntegerField(_("bytes"), null=True, editable=False)

    objects = MailAccessQuerySet.as_manager()

    class Meta:
        verbose_name = _("access to mail")
        verbose_name_plural = _("accesses to mail")
        ordering = ["-at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="mail_access_action",
                condition=Q(action__in=["list", "read", "download", "delete"]),
            ),
            models.CheckConstraint(
                name="mail_access_deleted_as_asked",
                condition=Q(messages=None) | Q(asked=None) | Q(messages__lte=models.F("asked")),
            ),
            models.CheckConstraint(
                name="mail_access_by_somebody", condition=~Q(user_name="") & ~Q(account_name="")
            ),
        ]
        indexes = [
            models.Index(name="mail_access_of_account", fields=["account_id", "-at"]),
            models.Index(name="mail_access_of_domain", fields=["domain", "-at"]),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.user_name}: {self.action} {self.account_name}"

    def ended(self, messages: int) -> None:
        """Write down how many messages a deletion has deleted."""
        self.messages = messages
        self.save(update_fields=["messages"])
