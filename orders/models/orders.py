"""What customers have asked for beyond their plan, and what became of it.

    ASKED ──the operator grants──▶ GRANTED      the limit is raised in the same transaction
      ├────the operator refuses──▶ REFUSED      with a reason
      └────the customer──────────▶ TAKEN_BACK

Only this module moves an order, always by an UPDATE that names the state it leaves, under the
lock of every edit (`one_at_a_time`). What was ordered, and its price, are copied from the
option: neither changes any more. How much is granted is never the customer's to say.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from accounts import names
from accounts.models import Account, Domain
from history.models import Entry
from mailhost.records import MAX_INTEGER
from orders.models.options import Option, OptionKind, price
from propagation.models import one_at_a_time
from quota.limits import limits_of

#: Accounts in one order.
MOST_AT_ONCE = 99
LONGEST_REASON = 300
# What the domain's column holds.
_MOST_ACCOUNTS = 2**31 - 1


class OrderState(models.TextChoices):
    """Where an order stands; only ASKED is left."""

    ASKED = "asked", pgettext_lazy("order", "Asked")
    GRANTED = "granted", pgettext_lazy("order", "Granted")
    REFUSED = "refused", pgettext_lazy("order", "Refused")
    TAKEN_BACK = "taken_back", pgettext_lazy("order", "Taken back")


# How the history calls the end of an order.
_NOTED = {
    OrderState.GRANTED: "grant",
    OrderState.REFUSED: "refuse",
    OrderState.TAKEN_BACK: "undo",
}


class OrderQuerySet(models.QuerySet["Order"]):
    """Which orders, and how one comes to be."""

    def asked(self) -> OrderQuerySet:
        """Return those that wait for the operator."""
        return self.filter(state=OrderState.ASKED)

    def ask(
        self,
        *,
        domain: Domain,
        option: Option,
        account: Account | None = None,
        quantity: int = 1,
        seen_yen: int | None = None,
        by: Any = None,
    ) -> Order:
        """Order an option for a domain, or for one `account` of it.

        `seen_yen` is the price of one that the customer was shown. Raises ValidationError, in
        words for the customer: with the code "price" where it is another one by now.
        """
        with transaction.atomic():
            one_at_a_time()
            offer = Option.objects.offered().select_for_update().filter(pk=option.pk).first()
            if offer is None:
                raise ValidationError(_("This option is no longer offered."), code="gone")
            if seen_yen is not None and seen_yen != offer.setup_yen:
                words = _("The price has changed: it is now %(price)s. Nothing has been ordered.")
                raise ValidationError(words % {"price": offer.price}, code="price")
            order = Order(
                domain=domain,
                kind=offer.kind,
                amount=offer.amount,
                quantity=quantity,
                setup_yen=offer.setup_yen,
                account_id=account.pk if account else None,
                account_name=account.name if account else "",
                asked_by=by,
            )
            order.full_clean(exclude=["asked_by"])
            order.account()
            order.save(force_insert=True)
            order.note("ask", by=by)
        return order


class Order(models.Model):
    """An order: what, for which account, at which price, and how it stands."""

    domain = models.ForeignKey(
        Domain, models.PROTECT, related_name="orders", verbose_name=gettext_lazy("domain")
    )
    kind = models.CharField(gettext_lazy("kind"), max_length=10, choices=OptionKind)
    # Of one: accounts, or bytes.
    amount = models.PositiveBigIntegerField(gettext_lazy("how much more"))
    quantity = models.PositiveSmallIntegerField(
        gettext_lazy("quantity"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_AT_ONCE)],
    )
    setup_yen = models.PositiveIntegerField(gettext_lazy("set-up price of one (yen)"))
    # No foreign key: an order outlives its account, and the list for billing still names it.
    account_id = models.UUIDField(null=True, blank=True, editable=False)
    account_name = models.CharField(gettext_lazy("POP account"), max_length=63, blank=True)
    state = models.CharField(
        gettext_lazy("state"), max_length=10, choices=OrderState, default=OrderState.ASKED
    )
    reason = models.CharField(
        gettext_lazy("reason of the refusal"), max_length=LONGEST_REASON, blank=True
    )
    # Of the granted: accounts of the domain, or bytes.
    limit_before = models.PositiveBigIntegerField(
        gettext_lazy("limit before"), null=True, blank=True
    )
    limit_after = models.PositiveBigIntegerField(gettext_lazy("limit after"), null=True, blank=True)
    asked_at = models.DateTimeField(pgettext_lazy("order", "asked at"), default=now)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=pgettext_lazy("order", "asked by"),
    )
    ended_at = models.DateTimeField(pgettext_lazy("order", "decided at"), null=True, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=pgettext_lazy("order", "decided by"),
    )

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("order")
        verbose_name_plural = gettext_lazy("orders")
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="order_state_known", condition=Q(state__in=OrderState.values)
            ),
            models.CheckConstraint(
                name="order_of_an_account_names_it",
                condition=Q(kind=OptionKind.ACCOUNT, account_id=None, account_name="")
                | (
                    Q(
                        kind__in=[OptionKind.MAILBOX, OptionKind.MESSAGE],
                        account_id__isnull=False,
                        quantity=1,
                    )
                    & ~Q(account_name="")
                ),
            ),
            models.CheckConstraint(
                name="order_is_of_something",
                condition=Q(amount__gte=1, quantity__gte=1, quantity__lte=MOST_AT_ONCE),
            ),
            models.CheckConstraint(
                name="order_ended_iff_not_asked",
                condition=Q(state=OrderState.ASKED, ended_at=None)
                | (~Q(state=OrderState.ASKED) & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="order_refused_with_a_reason",
                condition=(Q(state=OrderState.REFUSED) & ~Q(reason=""))
                | (~Q(state=OrderState.REFUSED) & Q(reason="")),
            ),
            models.CheckConstraint(
                name="order_granted_raises_a_limit",
                condition=Q(
                    state=OrderState.GRANTED,
                    limit_before__isnull=False,
                    limit_after__isnull=False,
                    limit_after__gt=models.F("limit_before"),
                )
                | (~Q(state=OrderState.GRANTED) & Q(limit_before=None, limit_after=None)),
            ),
            models.UniqueConstraint(
                name="one_open_order_of_accounts",
                fields=["domain"],
                condition=Q(state=OrderState.ASKED, kind=OptionKind.ACCOUNT),
                violation_error_message=gettext_lazy(
                    "You have asked for more accounts already. Take that order back to change it."
                ),
            ),
            models.UniqueConstraint(
                name="one_open_order_of_a_kind_per_account",
                fields=["account_id", "kind"],
                condition=Q(state=OrderState.ASKED),
                violation_error_message=gettext_lazy(
                    "You have asked for this account already. Take that order back to change it."
                ),
            ),
        ]
        indexes = [
            models.Index(name="order_by_domain", fields=["domain", "-asked_at"]),
            models.Index(name="order_by_state", fields=["state", "ended_at"]),
        ]

    def __str__(self) -> str:
        whose = f"{self.account_name}@{self.domain}" if self.account_name else str(self.domain)
        return f"{self.what} ({whose})"

    @property
    def of(self) -> OptionKind:
        """What there is to be more of."""
        return OptionKind(self.kind)

    @property
    def more(self) -> int:
        """How many accounts, or bytes, more."""
        return self.amount * self.quantity

    @property
    def what(self) -> str:
        """What was ordered, in words."""
        return self.of.more(self.more)

    @property
    def yen(self) -> int:
        """What all of it costs."""
        return self.setup_yen * self.quantity

    @property
    def price(self) -> str:
        """What all of it costs, in words."""
        return price(self.yen)

    @property
    def is_open(self) -> bool:
        """Whether the operator still has to decide."""
        return self.state == OrderState.ASKED

    @property
    def change_of_limit(self) -> str:
        """Say how a granted order raised the limit; "" for any other."""
        if self.limit_before is None or self.limit_after is None:
            return ""
        before, after = self.of.figure(self.limit_before), self.of.figure(self.limit_after)
        return f"{before} → {after}"

    def account(self) -> Account | None:
        """Return the account it is for; None where it is for the domain.

        Raises ValidationError where the account is gone, or on its way.
        """
        if self.account_id is None:
            return None
        own = Account.objects.filter(domain=self.domain_id, pk=self.account_id)
        account = own.select_related("domain__plan", "server").first()
        if account is None:
            raise ValidationError(_("This account no longer exists."), code="gone")
        account.refuse_if_leaving()
        return account

    def grant(self, *, by: Any = None) -> None:
        """Raise the limit; where a mail server keeps it, from the change's due time.

        Raises ValidationError, in words for the operator, where the order is no longer open or
        its account is gone.
        """
        with transaction.atomic():
            one_at_a_time()
            self._refuse_unless_asked()
            account = self.account()
            before = limit_of(self.of, account or self.domain)
            after = before + self.more
            if after > (MAX_INTEGER if account else _MOST_ACCOUNTS):
                raise ValidationError(_("The limit would be too large."), code="large")
            if account is None:
                self.domain.add_accounts(self.more)
            else:
                account.limit(**{self.of.limit: after}, by=by)
            self._end(OrderState.GRANTED, by=by, limit_before=before, limit_after=after)

    def refuse(self, reason: str, *, by: Any = None) -> None:
        """Refuse it with a reason, which the customer reads. Raises ValidationError."""
        reason = " ".join(reason.split())
        if not reason:
            raise ValidationError(_("Give a reason: the customer reads it."), code="reason")
        if len(reason) > LONGEST_REASON:
            words = _("Use at most %(most)d characters.") % {"most": LONGEST_REASON}
            raise ValidationError(words, code="long")
        self._end(OrderState.REFUSED, by=by, reason=reason)

    def take_back(self, *, by: Any = None) -> None:
        """Take it back, as the customer may until the operator has decided.

        Raises ValidationError where that is too late.
        """
        self._end(OrderState.TAKEN_BACK, by=by)

    def _end(self, state: OrderState, *, by: Any, **values: Any) -> None:
        with transaction.atomic():
            one_at_a_time()
            mine = Order.objects.asked().filter(pk=self.pk)
            if not mine.update(state=state, ended_at=now(), ended_by=by, **values):
                self._refuse_unless_asked()
            self.refresh_from_db()
            self.note(_NOTED[state], by=by)

    def note(self, what: str, *, by: Any) -> None:
        """Write into the domain's history what was done with the order."""
        Entry.objects.note(
            f"order.{what}",
            subject=f"{self.account_name}@{self.domain.name}"
            if self.account_name
            else self.domain.name,
            domain=self.domain.name,
            values={"kind": self.kind, "more": self.more},
            by=by,
        )

    def _refuse_unless_asked(self) -> None:
        found = Order.objects.filter(pk=self.pk).first()
        if found is None or not found.is_open:
            state = found.get_state_display() if found else "–"
            words = _("This order is no longer open. Its state: %(state)s.") % {"state": state}
            raise ValidationError(words, code="decided")


def limit_of(kind: OptionKind, holder: Account | Domain) -> int:
    """Return a limit as it is now: the domain's accounts, or an account's bytes."""
    if isinstance(holder, Domain):
        return Domain.objects.select_related("plan").get(pk=holder.pk).account_limit
    if kind == OptionKind.MAILBOX:
        return holder.size
    return limits_of(holder, holder.domain).message_bytes


def ordered_account(domain: Domain, typed: str) -> Account:
    """Return the account of a domain that somebody named; raises ValidationError without one."""
    name = typed.strip().lower().removesuffix(f"@{domain.name}").removesuffix(f"@{domain}")
    own = domain.accounts.filter(name=names.possible_name(name) or None)
    found = own.select_related("domain__plan", "server").first()
    if found is None:
        words = _("%(domain)s has no account of this name. Enter one of the User Manager's list.")
        raise ValidationError(words % {"domain": domain}, code="unknown")
    return found
