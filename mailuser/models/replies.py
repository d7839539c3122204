"""A mailbox's auto-reply: what it answers by itself, kept also while it is switched off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Account
from history.models import Entry
from mailhost import grammar, records
from mailhost.records import MAX_REPLY_DAYS
from propagation.models import Change, one_at_a_time

#: Characters of a text.
_MOST = 4000


def reply_key(name: str) -> str:
    """Return the key of the record of the auto-reply of the account of this name."""
    return f"reply:{name}"


class AutoReplyQuerySet(models.QuerySet["AutoReply"]):
    """Which auto-replies, and how one comes to be."""

    def of(self, account: Account) -> AutoReply:
        """Return the account's; one not saved yet, and off, where it has none."""
        row = self.filter(account=account).first() or AutoReply()
        row.account = account
        return row

    def write(
        self,
        account: Account,
        *,
        on: bool,
        subject: str,
        text: str,
        starts: date | None = None,
        ends: date | None = None,
        days: int = 7,
        by: Any = None,
    ) -> AutoReply:
        """Let the account answer so, or no more (`on`), from the change's due time.

        Raises ValidationError in words for the customer.
        """
        with transaction.atomic():
            one_at_a_time()
            if not Account.objects.filter(pk=account.pk).exists():
                raise ValidationError(_("This account no longer exists."), code="gone")
            account.refuse_if_leaving()
            row = self.of(account)
            before, said = row.record(), row.said()
            row.on, row.subject, row.text = on, subject, text
            row.starts, row.ends, row.days = starts, ends, days
            row.full_clean(validate_unique=False)
            row.save()
            after = row.record()
            if before != after:
                row.propose(before, after, by=by)
            elif after is None and row.said() != said:
                # No server is told, so no change tells the history.
                address, domain = account.address, account.domain.name
                Entry.objects.note("reply.draft", subject=address, domain=domain, by=by)
        return row


class AutoReply(models.Model):
    """What an account answers by itself; goes with the account."""

    account = models.OneToOneField(
        Account, models.CASCADE, primary_key=True, related_name="auto_reply"
    )
    on = models.BooleanField(gettext_lazy("switched on"), default=False)
    subject = models.CharField(gettext_lazy("subject"), max_length=200)
    text = models.TextField(gettext_lazy("text"), max_length=_MOST)
    starts = models.DateField(gettext_lazy("first day"), null=True, blank=True)
    ends = models.DateField(gettext_lazy("last day"), null=True, blank=True)
    days = models.PositiveSmallIntegerField(
        gettext_lazy("days until the same sender is answered again"),
        default=7,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_REPLY_DAYS)],
    )

    objects = AutoReplyQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("auto-reply")
        verbose_name_plural = gettext_lazy("auto-replies")
        constraints = [
            models.CheckConstraint(
                name="auto_reply_days",
                condition=Q(days__gte=1, days__lte=MAX_REPLY_DAYS),
            ),
            models.CheckConstraint(
                name="auto_reply_says_something", condition=~Q(subject="") & ~Q(text="")
            ),
            models.CheckConstraint(
                name="auto_reply_ends_after_it_starts",
                condition=Q(starts=None) | Q(ends=None) | Q(ends__gte=F("starts")),
                violation_error_message=gettext_lazy("The last day is before the first."),
            ),
        ]

    def __str__(self) -> str:
        return str(self.account)

    def clean(self) -> None:
        """Bring subject and text into the form in which they are sent, or say what cannot be.

        Whatever passes makes a record: the rules are the mail server's (`mailhost.grammar`).
        """
        self.subject = self.subject.strip()
        # Lines without tabulators.
        lines = self.text.replace("\r\n", "\n").replace("\r", "\n")
        self.text = lines.expandtabs(4).rstrip()
        errors = {
            "subject": _of_characters(self.subject, grammar.check_subject),
            "text": _of_characters(self.text, grammar.check_letter),
            "starts": _of_day(self.starts),
            "ends": _of_day(self.ends),
        }
        if self.starts and self.ends and self.ends < self.starts:
            errors["ends"] = _("The last day is before the first.")
        if found := {name: error for name, error in errors.items() if error}:
            raise ValidationError(found)

    @property
    def key(self) -> str:
        """The key of the record."""
        return reply_key(self.account.name)

    def said(self) -> tuple[Any, ...]:
        """Return what is answered and when, switched on or off."""
        return self.subject, self.text, self.starts, self.ends, self.days

    def record(self) -> records.AutoReply | None:
        """Return what the mail server holds; None while it is switched off."""
        if not self.on:
            return None
        return records.AutoReply(
            name=self.account.name,
            domain=self.account.domain.name,
            mailbox_id=self.account.pk.hex,
            subject=self.subject,
            text=self.text,
            starts=self.starts.isoformat() if self.starts else "",
            ends=self.ends.isoformat() if self.ends else "",
            days=self.days,
        )

    def propose(
        self, before: records.AutoReply | None, after: records.AutoReply | None, *, by: Any
    ) -> None:
        """Tell the mail server what is answered from now on."""
        needs = [(self.account.server_id, self.account.key)]
        Change.objects.propose(
            self.account.server, before=before, after=after, by=by, needs=needs if after else []
        )

    def restore(self, was: records.AutoReply | None) -> None:
        """Return to what the server does, for a change that was just cancelled."""
        self.on = was is not None
        if was is not None:
            self.subject, self.text, self.days = was.subject, was.text, was.days
            self.starts = date.fromisoformat(was.starts) if was.starts else None
            self.ends = date.fromisoformat(was.ends) if was.ends else None
        self.save()


def _of_characters(text: str, check: Callable[[str], None]) -> str:
    """Return why a text cannot be sent; "" if it can."""
    if len(text) > _MOST:
        return _("Use at most %(most)d characters.") % {"most": _MOST}
    if not text:
        return _("Please write something here.")
    try:
        check(text)
    except grammar.GrammarError:
        return _("There is a character in it that cannot be sent. Please type it anew here.")
    return ""


def _of_day(day: date | None) -> str:
    """Return why an auto-reply can neither begin nor end on a day; "" if it can."""
    if day is None or grammar.FIRST_DAY <= day <= grammar.LAST_DAY:
        return ""
    first, last = (date_format(one, "DATE_FORMAT") for one in (grammar.FIRST_DAY, grammar.LAST_DAY))
    return _("Choose a day from %(first)s to %(last)s.") % {"first": first, "last": last}


@receiver(pre_delete, sender=AutoReply)
def withdraw(instance: AutoReply, **_kwargs: Any) -> None:
    """Take the record from the server with the row: the account is gone, and its scripts too.

    Switched off there is none, or its removal is on its way already.
    """
    row = AutoReply.objects.select_related("account__domain", "account__server").get(pk=instance.pk)
    if record := row.record():
        with transaction.atomic():
            row.propose(record, None, by=None)
