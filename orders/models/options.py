"""What can be ordered, and for how much: the operator's rows, which no customer edits.

The manual's are one more POP account for 300 yen at set-up (section 5, point 2), a larger mailbox
(point 4) and larger messages (point 7); it gives no price for the last two.
"""

from __future__ import annotations

from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, gettext_lazy, ngettext, pgettext_lazy

from quota.words import bytes_of, number


class OptionKind(models.TextChoices):
    """What there is more of."""

    ACCOUNT = "account", gettext_lazy("more POP accounts")
    MAILBOX = "mailbox", gettext_lazy("a larger mailbox")
    MESSAGE = "message", gettext_lazy("larger messages")

    @property
    def of_an_account(self) -> bool:
        """Whether it is for one account; otherwise it is for the domain."""
        return self != OptionKind.ACCOUNT

    @property
    def limit(self) -> str:
        """Name the limit of an account that it raises, as its record names it."""
        return "quota_bytes" if self == OptionKind.MAILBOX else "message_bytes"

    def more(self, amount: int) -> str:
        """Say what so many accounts, or bytes, more are."""
        if self == OptionKind.ACCOUNT:
            words = ngettext("%(count)d more POP account", "%(count)d more POP accounts", amount)
            return words % {"count": amount}
        size = {"size": bytes_of(amount)}
        if self == OptionKind.MAILBOX:
            return gettext("A mailbox larger by %(size)s") % size
        return gettext("Messages larger by %(size)s") % size

    def figure(self, limit: int) -> str:
        """Return a limit of this kind as people write it."""
        return bytes_of(limit) if self.of_an_account else number(limit)


class OptionQuerySet(models.QuerySet["Option"]):
    """Which options."""

    def offered(self) -> OptionQuerySet:
        """Return what customers can order, as the page lists it."""
        return self.filter(is_offered=True).order_by("kind", "amount")

    def one_more_account(self) -> Option | None:
        """Return the offer for a domain whose accounts are all in use, if there is one."""
        return self.offered().filter(kind=OptionKind.ACCOUNT).first()


class Option(models.Model):
    """One thing that can be ordered. An order keeps its price: another one counts from then on."""

    kind = models.CharField(gettext_lazy("kind"), max_length=10, choices=OptionKind)
    amount = models.PositiveBigIntegerField(
        gettext_lazy("how much more"),
        validators=[MinValueValidator(1)],
        help_text=gettext_lazy("Accounts; or bytes (1 MB is 1048576) for a mailbox or messages."),
    )
    setup_yen = models.PositiveIntegerField(
        gettext_lazy("set-up price (yen)"), help_text=gettext_lazy("Paid once. 0: free of charge.")
    )
    is_offered = models.BooleanField(pgettext_lazy("option", "offered"), default=True)

    objects = OptionQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("option")
        verbose_name_plural = gettext_lazy("options")
        ordering = ["kind", "amount"]
        constraints = [
            models.CheckConstraint(
                name="option_kind_known", condition=Q(kind__in=OptionKind.values)
            ),
            models.CheckConstraint(
                name="option_amount_at_least_one",
                condition=Q(amount__gte=1),
                violation_error_message=gettext_lazy("Every limit is at least 1."),
            ),
            models.UniqueConstraint(
                name="option_once",
                fields=["kind", "amount"],
                violation_error_message=gettext_lazy("This option is there already."),
            ),
        ]

    def __str__(self) -> str:
        return str(self.what)

    @property
    def what(self) -> str:
        """What it is, in words."""
        return OptionKind(self.kind).more(self.amount)

    @property
    def price(self) -> str:
        """What it costs, in words."""
        return price(self.setup_yen)

    @property
    def of_an_account(self) -> bool:
        """Whether an order of it names an account."""
        return OptionKind(self.kind).of_an_account


def price(setup_yen: Any) -> str:
    """Say a price."""
    if not setup_yen:
        return gettext("free of charge")
    return gettext("%(yen)s yen set-up") % {"yen": number(setup_yen)}
