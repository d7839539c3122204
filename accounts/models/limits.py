"""What one account may have otherwise than its plan says; an account in the trash keeps it."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from mailhost.records import Mailbox


def _own_limit(name: Any) -> models.PositiveBigIntegerField[int | None, int | None]:
    return models.PositiveBigIntegerField(
        name,
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=gettext_lazy("Empty: as the plan has it."),
    )


def at_least_one(name: str) -> models.CheckConstraint:
    """Return the constraint that no limit of a row's own is 0: that is the mail server's word."""
    limits = [limit for limit in OwnLimits.NAMES if limit != "pop_before_smtp"]
    each = [Q(**{f"{limit}__isnull": True}) | Q(**{f"{limit}__gte": 1}) for limit in limits]
    return models.CheckConstraint(
        name=name,
        condition=reduce(and_, each),
        violation_error_message=gettext_lazy("Every limit is at least 1."),
    )


class OwnLimits(models.Model):
    """The columns; set by the operator, never by those they bind."""

    quota_bytes = _own_limit(gettext_lazy("mailbox size (bytes)"))
    message_bytes = _own_limit(gettext_lazy("message size (bytes)"))
    list_message_bytes = _own_limit(gettext_lazy("size of a message to a mailing list (bytes)"))
    recipients_per_message = _own_limit(gettext_lazy("recipients per message"))
    recipients_per_day = _own_limit(gettext_lazy("recipients per day"))
    pop_before_smtp = models.BooleanField(
        gettext_lazy("may send after receiving (POP before SMTP)"),
        default=True,
        help_text=gettext_lazy("Where the plan allows it."),
    )

    class Meta:
        abstract = True

    #: The fields, by their names in the mail server's record.
    NAMES = (
        "quota_bytes",
        "message_bytes",
        "list_message_bytes",
        "recipients_per_message",
        "recipients_per_day",
        "pop_before_smtp",
    )

    def own_limits(self) -> dict[str, Any]:
        """Return the columns by name; None: as the plan has it."""
        return {name: getattr(self, name) for name in self.NAMES}

    def recorded_limits(self) -> dict[str, Any]:
        """Return the columns as the mail server's record has them; 0: as the plan has it."""
        return {name: value or 0 for name, value in self.own_limits().items()} | {
            "pop_before_smtp": self.pop_before_smtp
        }


def limits_in(record: Mailbox) -> dict[str, Any]:
    """Return the columns that say what a mail server's record says."""
    found = {name: getattr(record, name) or None for name in OwnLimits.NAMES}
    return found | {"pop_before_smtp": record.pop_before_smtp}
