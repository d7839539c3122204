"""What mailboxes use of their limits, as the mail servers tell it, and which warnings stand.

Nothing here decides what a full mailbox is refused: a mail server judges by its own figures.
Rows may be lost, and come again when a server's `UsageReport` is deleted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Domain
from propagation.models import MailServer

#: From these percentages of its limit on a mailbox's owner is warned.
NEARLY, ALMOST, FULL = 80, 95, 100
#: A server's figures are a minute old at most; later than this something is wrong.
LATE = timedelta(minutes=5)


def on_server(server: MailServer) -> Exists:
    """Return the condition that a row's account is on a server.

    Not by a join: SQLite would begin with all accounts of the server, however few rows there are.
    """
    return Exists(Account.objects.filter(pk=OuterRef("account"), server=server).order_by())


class UsageReport(models.Model):
    """How far one server's figures of mailboxes have been taken over, and when that was."""

    server = models.OneToOneField(
        MailServer, models.CASCADE, related_name="usage_report", verbose_name=_("mail server")
    )
    cursor = models.CharField(max_length=200, blank=True, editable=False)
    collected_at = models.DateTimeField(_("figures of"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("report of mailbox usage")
        verbose_name_plural = _("reports of mailbox usage")

    def __str__(self) -> str:
        return str(self.server)

    @property
    def late(self) -> bool:
        """Whether the figures are too old to be relied on."""
        return self.collected_at is None or now() - self.collected_at > LATE


class MailboxUsageQuerySet(models.QuerySet["MailboxUsage"]):
    """Which mailboxes, by how full they are."""

    def of_domain(self, domain: Domain) -> MailboxUsageQuerySet:
        """Return those of a domain's accounts."""
        return self.filter(account__domain=domain)

    def of_server(self, server: MailServer) -> MailboxUsageQuerySet:
        """Return those of a server's accounts."""
        return self.filter(on_server(server))

    def at_least(self, percent: int) -> MailboxUsageQuerySet:
        """Return those that use so much of their limit, by the index."""
        return self.filter(percent__gte=percent)

    def full(self) -> MailboxUsageQuerySet:
        """Return those that new mail is refused, and that the next Wednesday's job takes."""
        return self.at_least(FULL)


class MailboxUsage(models.Model):
    """What one mailbox held when its server was last asked; sizes are in bytes."""

    account = models.OneToOneField(
        Account,
        models.CASCADE,
        primary_key=True,
        related_name="usage",
        verbose_name=_("POP account"),
    )
    used = models.PositiveBigIntegerField(_("used (bytes)"))
    messages = models.PositiveBigIntegerField(_("messages"))
    limit = models.PositiveBigIntegerField(_("limit (bytes)"))
    asked_at = models.DateTimeField(_("asked"))
    # Rounded down, so that 100 is reached exactly where the limit is.
    percent = models.GeneratedField(
        expression=F("used") * 100 / F("limit"),
        output_field=models.PositiveBigIntegerField(),
        db_persist=True,
        verbose_name=_("used (%)"),
    )

    objects = MailboxUsageQuerySet.as_manager()

    class Meta:
        verbose_name = _("mailbox usage")
        verbose_name_plural = _("mailbox usage")
        ordering = ["-percent"]
        constraints = [
            models.CheckConstraint(name="usage_has_a_limit", condition=Q(limit__gte=1)),
            # What a hundredth of can be counted: 80 PB.
            models.CheckConstraint(name="usage_can_be_counted", condition=Q(used__lt=9 * 10**16)),
        ]
        indexes = [models.Index(name="usage_by_percent", fields=["-percent"])]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.used} / {self.limit}"

    @property
    def full(self) -> bool:
        """Whether it is at its limit or above."""
        return self.used >= self.limit


class UsageWarning(models.Model):
    """A warning that has been given and still stands.

    One of a threshold stands until usage is clearly below it again, so that each crossing is
    told once; one of a Wednesday until that day has passed.
    """

    class Kind(models.TextChoices):
        """What is warned of; also the kinds of the notices."""

        # xgettext:no-python-format
        NEARLY = "quota-80", _("80% used")
        # xgettext:no-python-format
        ALMOST = "quota-95", _("95% used")
        MONDAY = "wednesday-monday", _("on Monday, of Wednesday")
        TUESDAY = "wednesday-tuesday", _("on Tuesday, of Wednesday")

    account = models.ForeignKey(
        Account,
        models.CASCADE,
        db_index=False,
        related_name="usage_warnings",
        verbose_name=_("POP account"),
    )
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    used = models.PositiveBigIntegerField(_("used (bytes)"))
    limit = models.PositiveBigIntegerField(_("limit (bytes)"))
    given_at = models.DateTimeField(_("given"), default=now)
    wednesday = models.DateField(_("Wednesday"), null=True, blank=True, db_index=True)

    class Meta:
        verbose_name = _("warning of a full mailbox")
        verbose_name_plural = _("warnings of full mailboxes")
        ordering = ["-given_at"]
        constraints = [
            models.UniqueConstraint(name="usage_warning_once", fields=["account", "kind"]),
            models.CheckConstraint(
                name="usage_warning_kind",
                condition=Q(kind__in=["quota-80", "quota-95"], wednesday__isnull=True)
                | Q(kind__in=["wednesday-monday", "wednesday-tuesday"], wednesday__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.kind}"


class WaitingMail(models.Model):
    """Copies of messages that wait on the mail server until an account's mailbox has room.

    `first` lists some of them, the longest waiting first, as {"sender", "size", "arrived"}
    with times as UNIX seconds.
    """

    account = models.OneToOneField(
        Account,
        models.CASCADE,
        primary_key=True,
        related_name="waiting_mail",
        verbose_name=_("POP account"),
    )
    count = models.PositiveIntegerField(_("messages"))
    size = models.PositiveBigIntegerField(_("size (bytes)"))
    oldest_at = models.DateTimeField(_("oldest"))
    first: models.JSONField[Any, list[dict[str, Any]]] = models.JSONField(
        _("the oldest ones"), default=list
    )

    class Meta:
        verbose_name = _("waiting mail")
        verbose_name_plural = _("waiting mail")
        ordering = ["oldest_at"]
        constraints = [
            models.CheckConstraint(name="waiting_mail_is_some", condition=Q(count__gte=1))
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.count}"


class Notice(models.Model):
    """A message of our own to an account and its customer: on its way, or sent.

    It is written with what it tells of, in one transaction, so that neither is there without
    the other. Each of the two ways is claimed by its time before the mail goes out.
    """

    account = models.ForeignKey(
        Account,
        models.CASCADE,
        db_index=False,
        related_name="notices",
        verbose_name=_("POP account"),
    )
    kind = models.CharField(_("kind"), max_length=40)
    values: models.JSONField[Any, dict[str, Any]] = models.JSONField(
        _("values"), default=dict, encoder=DjangoJSONEncoder
    )
    written_at = models.DateTimeField(_("written"), default=now, db_index=True)
    to_account_at = models.DateTimeField(_("sent to the account"), null=True, blank=True)
    to_customer_at = models.DateTimeField(_("sent to the customer"), null=True, blank=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        ordering = ["-written_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="notice_kind_form", condition=Q(kind__regex=r"\A[a-z0-9-]{1,40}\Z")
            )
        ]
        indexes = [
            models.Index(name="notice_by_account", fields=["account", "-written_at"]),
            models.Index(
                name="notice_to_send",
                fields=["written_at"],
                condition=Q(to_account_at__isnull=True) | Q(to_customer_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.kind}"
