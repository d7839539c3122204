"""What the mail servers report of sending: copies of the policy daemons' figures.

Nothing here decides anything: a mail server judges by what it knows itself. Rows may be lost, and
come again when a server's `Report` is deleted.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Domain
from mailhost.policy.grants import lies_in, networks_in
from propagation.models import MailServer

#: Refusals kept of each account.
REFUSALS_KEPT = 10
#: A server's figures are a minute old at most; later than this something is wrong.
LATE = timedelta(minutes=5)


class Report(models.Model):
    """How far one server's figures have been taken over, and when that was."""

    server = models.OneToOneField(MailServer, models.CASCADE, verbose_name=_("mail server"))
    cursor = models.CharField(max_length=200, blank=True, editable=False)
    collected_at = models.DateTimeField(_("figures of"), null=True, blank=True, editable=False)
    pop_before_smtp = models.BooleanField(
        _("may send after receiving (POP before SMTP)"), default=True, editable=False
    )
    window_minutes = models.PositiveIntegerField(_("for minutes"), default=30, editable=False)
    no_window_networks = models.TextField(_("not from"), blank=True, editable=False)

    class Meta:
        verbose_name = _("report of sending")
        verbose_name_plural = _("reports of sending")

    def __str__(self) -> str:
        return str(self.server)

    @property
    def late(self) -> bool:
        """Whether the figures are too old to be relied on."""
        return self.collected_at is None or now() - self.collected_at > LATE

    def may_open(self, address: str) -> bool:
        """Whether a login from this IP address opens a way, as far as the server goes."""
        if not self.pop_before_smtp:
            return False
        return not lies_in(address, networks_in(self.no_window_networks))


class SendingHourQuerySet(models.QuerySet["SendingHour"]):
    """Sums of what was sent."""

    def of_domain(self, domain: Domain) -> SendingHourQuerySet:
        """Return what a domain's accounts sent."""
        # Not by a join: SQLite would read all accounts' hours of a day, and look at each account.
        accounts = Account.objects.filter(domain=domain).order_by()
        return self.filter(account__in=accounts.values("pk"))

    def on(self, day: date) -> SendingHourQuerySet:
        """Return what was sent on a day."""
        return self.filter(day=day)

    def total(self) -> int:
        """Return the recipients of all of it."""
        return int(self.aggregate(sum=models.Sum("recipients"))["sum"] or 0)


class SendingHour(models.Model):
    """Recipients of an account's mail within an hour, from one address by one way.

    Day and hour are those of the mail server's time zone, which is to be the panel's.
    """

    class Way(models.TextChoices):
        """How the sender showed who he is."""

        LOGIN = "login", _("after receiving (POP before SMTP)")
        AUTH = "auth", _("with the password (SMTP AUTH)")
        # For mail that a webmail program will submit; nothing is counted so yet.
        WEBMAIL = "webmail", _("from webmail")

    account = models.ForeignKey(
        Account, models.CASCADE, db_index=False, verbose_name=_("POP account")
    )
    day = models.DateField(_("day"))
    hour = models.PositiveSmallIntegerField(_("hour"))
    address = models.GenericIPAddressField(_("sent from"))
    way = models.CharField(_("way"), max_length=10, choices=Way.choices)
    recipients = models.PositiveIntegerField(_("recipients"))

    objects = SendingHourQuerySet.as_manager()

    class Meta:
        verbose_name = _("hour of sending")
        verbose_name_plural = _("hours of sending")
        ordering = ["-day", "-hour"]
        constraints = [
            models.UniqueConstraint(
                name="sending_hour_once", fields=["account", "day", "hour", "address", "way"]
            ),
            models.CheckConstraint(name="sending_hour_of_a_day", condition=Q(hour__lte=23)),
            models.CheckConstraint(
                name="sending_hour_way", condition=Q(way__in=["login", "auth", "webmail"])
            ),
        ]
        indexes = [models.Index(name="sending_hour_by_day", fields=["day"])]

    def __str__(self) -> str:
        return f"{self.account_id} {self.day} {self.hour}: {self.recipients}"


class SendingWindow(models.Model):
    """From `network` an account may send until then, because it received mail from there."""

    class Way(models.TextChoices):
        """How it received."""

        POP3 = "pop3", "POP"
        IMAP = "imap", "IMAP"

    account = models.ForeignKey(
        Account, models.CASCADE, db_index=False, verbose_name=_("POP account")
    )
    network = models.CharField(_("network"), max_length=50)
    address = models.GenericIPAddressField(_("address"))
    way = models.CharField(_("way"), max_length=5, choices=Way.choices)
    login_at = models.DateTimeField(_("last login"))
    until = models.DateTimeField(_("open until"), db_index=True)

    class Meta:
        verbose_name = _("open way")
        verbose_name_plural = _("open ways")
        ordering = ["-until"]
        constraints = [
            models.UniqueConstraint(name="sending_window_once", fields=["account", "network"]),
            models.CheckConstraint(
                name="sending_window_way", condition=Q(way__in=["pop3", "imap"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.network}"

    @property
    def open(self) -> bool:
        """Whether it is open still."""
        return self.until > now()


class Refusal(models.Model):
    """Refusals of an account's mail for one cause on one day: the latest, and how many.

    Only the last ones of each account are kept. The day is that of the mail server's time zone.
    """

    account = models.ForeignKey(
        Account, models.CASCADE, db_index=False, verbose_name=_("POP account")
    )
    day = models.DateField(_("day"))
    reason = models.CharField(_("reason"), max_length=40)
    sender = models.CharField(_("sender"), max_length=254, blank=True)
    at = models.DateTimeField(_("time"))
    times = models.PositiveIntegerField(_("times"), default=1)
    limit = models.PositiveBigIntegerField(_("limit"))
    reached = models.PositiveBigIntegerField(_("reached"))
    recipient = models.CharField(_("recipient"), max_length=254, blank=True)

    class Meta:
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        ordering = ["-at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                name="refusal_once", fields=["account", "day", "reason", "sender"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.at}: {self.reason}"


class GuessingQuerySet(models.QuerySet["Guessing"]):
    """Which accounts are guessed at."""

    def lift(self) -> int:
        """Ask the mail servers to forget the wrong passwords; return for how many accounts.

        It is done by the next collection on each server, within a minute.
        """
        return self.update(lift_asked_at=now())

    def to_lift(self, server: MailServer) -> list[str]:
        """Return the names of one server's accounts whose wrong passwords are to be forgotten."""
        asked = self.filter(account__server=server, lift_asked_at__isnull=False)
        return list(asked.values_list("account__name", flat=True))


class Guessing(models.Model):
    """Wrong passwords for an account within an hour: who is slowed or refused because of them.

    `wrong` and the two times are about all places from which the account has not logged in
    lately. `places` lists where the guesses came from, with times as UNIX seconds.
    """

    account = models.OneToOneField(
        Account,
        models.CASCADE,
        primary_key=True,
        related_name="guessing",
        verbose_name=_("POP account"),
    )
    wrong = models.PositiveIntegerField(_("wrong passwords"))
    slowed_until = models.DateTimeField(_("slowed until"), null=True, blank=True)
    refused_until = models.DateTimeField(_("refused until"), null=True, blank=True)
    places: models.JSONField[Any, list[dict[str, Any]]] = models.JSONField(
        _("places"), default=list
    )
    told_at = models.DateTimeField(_("told"), db_index=True)
    lift_asked_at = models.DateTimeField(_("lifting asked for"), null=True, blank=True)

    objects = GuessingQuerySet.as_manager()

    class Meta:
        verbose_name = _("guessing of passwords")
        verbose_name_plural = _("guessing of passwords")
        ordering = [F("refused_until").desc(nulls_last=True), "-told_at"]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.wrong}"
