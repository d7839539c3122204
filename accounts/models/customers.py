"""Who owns what: logins, customers, and the plans they have bought."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from history.models import Entry
from mailhost import grammar
from mailhost.records import PlanLimits
from propagation.models import Change, MailServer, one_at_a_time

MEGABYTE = 1024 * 1024


class User(AbstractUser):
    """A login of the panel: an operator (staff) or a customer's."""

    language = models.CharField(
        gettext_lazy("language"), max_length=5, choices=settings.LANGUAGES, blank=True
    )

    class Meta:
        verbose_name = gettext_lazy("login")
        verbose_name_plural = gettext_lazy("logins")

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, and write a new password down in the same transaction, whoever set it."""
        # As AbstractBaseUser.save() knows it; a hash that is only made anew leaves it empty.
        renewed = getattr(self, "_password", None) is not None and not self._state.adding
        with transaction.atomic():
            super().save(*args, **kwargs)
            if renewed:
                Entry.objects.note("login.password", subject=self.username, login_id=self.pk)


class PlanQuerySet(models.QuerySet["Plan"]):
    """All plans, or some."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete one after the other, each with its record on the mail servers."""
        with transaction.atomic():
            found = [plan.delete() for plan in self]
        return sum(count for count, _rows in found), {}


class Plan(models.Model):
    """What a domain's owner has bought (コース); every limit of the manual's section 5.

    Every mail server holds every plan: an edit is a change for each of them, and these are
    taken back together.
    """

    code = models.SlugField(gettext_lazy("code"), unique=True)
    name_ja = models.CharField(gettext_lazy("name (Japanese)"), max_length=60)
    name_en = models.CharField(gettext_lazy("name (English)"), max_length=60)
    account_limit = models.PositiveIntegerField(gettext_lazy("POP accounts"))
    self_service = models.BooleanField(
        gettext_lazy("customer may add and delete accounts"), default=True
    )
    mailbox_bytes = models.PositiveBigIntegerField(
        gettext_lazy("mailbox size (bytes)"), default=10 * MEGABYTE
    )
    message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("message size (bytes)"), default=3 * MEGABYTE
    )
    recipients_per_message = models.PositiveIntegerField(
        gettext_lazy("recipients per message"), default=100
    )
    recipients_per_day = models.PositiveIntegerField(
        gettext_lazy("recipients per day"), default=1000
    )
    list_message_bytes = models.PositiveBigIntegerField(
        gettext_lazy("size of a message to a mailing list (bytes)"), default=75 * 1024
    )
    domain_recipients_per_day = models.PositiveIntegerField(
        gettext_lazy("recipients per day of all accounts of a domain"),
        default=0,
        help_text=gettext_lazy("0: the accounts of a domain are not counted together."),
    )
    pop_before_smtp = models.BooleanField(
        gettext_lazy("may send after receiving (POP before SMTP)"),
        default=True,
        help_text=gettext_lazy("Off: sending takes a password (SMTP AUTH)."),
    )
    is_sample = models.BooleanField(gettext_lazy("sample for the demo"), default=False)

    objects = PlanQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("plan")
        verbose_name_plural = gettext_lazy("plans")
        ordering = ["name_en"]
        constraints = [
            models.CheckConstraint(
                name="plan_limits_are_limits",
                condition=Q(
                    account_limit__gte=1,
                    mailbox_bytes__gte=1,
                    message_bytes__gte=1,
                    recipients_per_message__gte=1,
                    recipients_per_day__gte=1,
                    list_message_bytes__gte=1,
                ),
                violation_error_message=gettext_lazy("Every limit is at least 1."),
            ),
            models.CheckConstraint(
                name="plan_code_form",
                condition=Q(code__regex=grammar.PLAN_CODE.pattern),
                violation_error_message=gettext_lazy("Use letters, digits, - and _ only."),
            ),
        ]

    def __str__(self) -> str:
        return self.name_ja if get_language() == "ja" else self.name_en

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the plan, and tell every mail server what it now allows."""
        with transaction.atomic():
            one_at_a_time()
            was = Plan.objects.filter(pk=self.pk).first() if self.pk else None
            if was and was.code != self.code:
                raise ValidationError(_("A plan's code stays as it is."), code="code")
            super().save(*args, **kwargs)
            group = uuid.uuid4()
            for server in MailServer.objects.all():
                self.propose(server, before=was, group=group)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete a plan that no domain has, here and on the mail servers."""
        with transaction.atomic():
            one_at_a_time()
            group = uuid.uuid4()
            for server in MailServer.objects.all():
                Change.objects.propose(server, before=self.record(), after=None, group=group)
            return super().delete(*args, **kwargs)

    def propose(
        self, server: MailServer, *, before: Plan | None = None, group: uuid.UUID | None = None
    ) -> None:
        """Tell a mail server what the plan allows."""
        held = before.record() if before else None
        if held != self.record():
            Change.objects.propose(server, before=held, after=self.record(), group=group)

    def record(self) -> PlanLimits:
        """Return what a mail server holds of this plan."""
        return PlanLimits(
            code=self.code,
            mailbox_bytes=self.mailbox_bytes,
            message_bytes=self.message_bytes,
            list_message_bytes=self.list_message_bytes,
            recipients_per_message=self.recipients_per_message,
            recipients_per_day=self.recipients_per_day,
            domain_recipients_per_day=self.domain_recipients_per_day,
            pop_before_smtp=self.pop_before_smtp,
        )

    def restore(self, was: PlanLimits) -> None:
        """Allow again what the mail server still allows: a change was taken back."""
        limits = was.value()
        del limits["code"]
        Plan.objects.filter(pk=self.pk).update(**limits)


class Customer(models.Model):
    """Who owns domains and logs in to look after them."""

    user = models.OneToOneField(User, models.PROTECT, verbose_name=gettext_lazy("login"))
    name = models.CharField(gettext_lazy("name"), max_length=100)

    class Meta:
        verbose_name = gettext_lazy("customer")
        verbose_name_plural = gettext_lazy("customers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
