"""What the mail servers report of messages: copies of their events, kept for 14 days.

Nothing here decides anything. Rows may be lost, and come again when a server's `EventReport` is
deleted.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from accounts.models import Domain
from mailhost.policy.texts import reason_in
from propagation.models import MailServer

#: How long events are kept, as on the mail server.
KEPT = timedelta(days=14)
# Refusals by the policy daemon of what an account of the address sent, and nobody else
# (mailhost.policy.rules).
_CHARGED = (
    *("null-sender", "message-recipients", "day-recipients", "domain-recipients"),
    *("size", "account"),
)
#: A server's events are a minute old at most; later than this something is wrong.
LATE = timedelta(minutes=5)


class EventReport(models.Model):
    """How far one server's events have been taken over, and of when they are.

    All that its log told from `known_since` to `known_until` has come here, as far as it is kept;
    both are the daemon's word, and neither is there before it has seen the log's end.
    """

    server = models.OneToOneField(
        MailServer, models.CASCADE, related_name="event_report", verbose_name=_("mail server")
    )
    cursor = models.CharField(max_length=200, blank=True, editable=False)
    known_since = models.DateTimeField(_("events since"), null=True, blank=True, editable=False)
    known_until = models.DateTimeField(_("events of"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("report of what became of mail")
        verbose_name_plural = _("reports of what became of mail")

    def __str__(self) -> str:
        return str(self.server)

    @property
    def late(self) -> bool:
        """Whether the events are too old to be relied on."""
        return self.known_until is None or now() - self.known_until > LATE

    @property
    def complete_since(self) -> datetime | None:
        """Since when every event is here; older ones are not, or not all of them."""
        return self.known_since and max(self.known_since, now() - KEPT)


class Side(models.TextChoices):
    """What an address is in an event."""

    TO = "to", _("for the address")
    FROM = "from", _("from the address")


class Kind(models.TextChoices):
    """What became of a message for one recipient."""

    DELIVERED = "delivered", _("Delivered")
    DEFERRED = "deferred", _("Put off")
    BOUNCED = "bounced", _("Returned to its sender")
    REFUSED = "refused", _("Mail refused")


class MailEventQuerySet(models.QuerySet["MailEvent"]):
    """Which events."""

    def about(self, domain: Domain, address: str) -> MailEventQuerySet:
        """Return those of one address of a domain, the latest first."""
        return self.filter(domain=domain, address=address).order_by("-at", "-pk")


class MailEvent(models.Model):
    """What became of a message, as it concerns one address of a domain.

    One with two addresses of customers' domains is two rows, each its own domain's. `other` is
    who sent it, or to whom it was written; `onward` where forwarding led it from this address.
    `relay` is "mailbox", "list" or the name of the server that took it or answered.
    """

    domain = models.ForeignKey(Domain, models.CASCADE, db_index=False, verbose_name=_("domain"))
    address = models.CharField(_("address"), max_length=254)
    side = models.CharField(_("side"), max_length=4, choices=Side.choices)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    at = models.DateTimeField(_("time"))
    other = models.CharField(_("other side"), max_length=254, blank=True)
    onward = models.CharField(_("forwarded to"), max_length=254, blank=True)
    relay = models.CharField(_("receiving server"), max_length=253, blank=True)
    code = models.CharField(_("code"), max_length=12, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)

    objects = MailEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event of a message")
        verbose_name_plural = _("events of messages")
        constraints = [
            models.CheckConstraint(name="mail_event_side", condition=Q(side__in=["to", "from"])),
            models.CheckConstraint(
                name="mail_event_kind",
                condition=Q(kind__in=["delivered", "deferred", "bounced", "refused"]),
            ),
        ]
        indexes = [
            # The kind, so that the last delivery is found behind many refusals without their rows.
            models.Index(
                name="mail_event_by_address", fields=["domain", "address", "side", "-at", "kind"]
            ),
            # What is old: numbers are in the order of taking over.
            models.Index(name="mail_event_by_time", fields=["at"]),
        ]

    def __str__(self) -> str:
        return f"{self.address} {self.at}: {self.kind}"

    @property
    def unproven(self) -> bool:
        """Whether anybody may have written the address as a sender's: nobody had to log in."""
        refused = self.side == Side.FROM and self.kind == Kind.REFUSED
        return refused and reason_in(self.reason)[0] not in _CHARGED

    @property
    def temporary(self) -> bool:
        """Whether whoever sent it was asked to try again later."""
        return self.kind == Kind.DEFERRED or self.code.startswith("4")
