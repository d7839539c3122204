"""Deleted accounts: what can still be brought back, and until when."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import names
from accounts.models.accounts import Account
from accounts.models.domains import Domain
from accounts.models.limits import OwnLimits, at_least_one
from accounts.models.switches import Switches
from propagation.models import MailServer, one_at_a_time


class DeletedQuerySet(models.QuerySet["DeletedAccount"]):
    """Which deleted accounts."""

    def in_trash(self) -> DeletedQuerySet:
        """Return those that can be brought back: not on their way back, not being removed."""
        return self.filter(restored_at=None, removed_at=None)


class DeletedAccount(Switches, OwnLimits):
    """An account that is gone from its server and waits in the trash for TRASH_DAYS."""

    id = models.UUIDField(primary_key=True, editable=False)
    domain = models.ForeignKey(
        Domain, models.CASCADE, related_name="deleted_accounts", verbose_name=gettext_lazy("domain")
    )
    server = models.ForeignKey(MailServer, models.PROTECT, verbose_name=gettext_lazy("mail server"))
    name = models.CharField(gettext_lazy("account name"), max_length=63)
    password_hash = models.CharField(max_length=255, editable=False)
    deleted_at = models.DateTimeField(gettext_lazy("deleted"), default=now)
    # Set while a restored account is on its way; the row goes once the server has it back.
    restored_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Set just before the mail is removed for good.
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = DeletedQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("deleted account")
        verbose_name_plural = gettext_lazy("deleted accounts")
        ordering = ["-deleted_at"]
        constraints = [at_least_one("deleted_limits_at_least_one")]
        indexes = [models.Index(name="deleted_account_age", fields=["deleted_at"])]

    def __str__(self) -> str:
        return names.readable_address(f"{self.name}@{self.domain.name}")

    @property
    def kept_until(self) -> datetime:
        """When the mail is removed for good."""
        return self.deleted_at + timedelta(days=settings.TRASH_DAYS)

    def restore(self, *, name: str = "", by: Any = None, group: uuid.UUID | None = None) -> Account:
        """Make the account exist again, with its mail, under its own name or another.

        The row stays until the server has the mailbox back, so that taking the change back
        leaves everything as it was. Raises ValidationError: with the code NAME_TAKEN when
        the name has been taken since.
        """
        name = names.clean_mailbox_name(name or self.name)
        account = Account(
            pk=self.pk,
            domain=self.domain,
            server=self.server,
            name=name,
            password_hash=self.password_hash,
            **self.switches(),
            **self.own_limits(),
        )
        account.full_clean(validate_unique=False)
        with transaction.atomic():
            one_at_a_time()
            taken_out = DeletedAccount.objects.in_trash().filter(pk=self.pk)
            if not taken_out.update(restored_at=now()):
                raise ValidationError(_("This account is no longer in the trash."), code="gone")
            account.insert(by=by, group=group)
        return account
