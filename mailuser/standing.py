"""What a mailbox's auto-reply and its forwarding do now: by what the server holds, and the day."""

from __future__ import annotations

import enum
from datetime import date

from django.utils.formats import date_format
from django.utils.timezone import localdate
from django.utils.translation import gettext as _

from forwarding.models import ForwardingAddress
from mailhost import records
from mailuser.models import AutoReply
from propagation.progress import Progress


class Stage(enum.StrEnum):
    """What a page says in one word."""

    ON = "on"
    SCHEDULED = "scheduled"
    OVER = "over"
    OFF = "off"


def of_reply(row: AutoReply, progress: Progress) -> Stage:
    """Return how an auto-reply stands today.

    `progress` is that of its record: until a change counts, what the server held before does.
    """
    if _answers(_held(row, progress)):
        return Stage.ON
    if not row.on:
        return Stage.OFF
    return Stage.OVER if _is_over(row) else Stage.SCHEDULED


def of_forwarding(row: ForwardingAddress | None, progress: Progress) -> Stage:
    """Return how a mailbox's forwarding stands; `row`: what it shall be, None: none."""
    change = progress.change
    if change.before if change else row:
        return Stage.ON
    return Stage.SCHEDULED if row else Stage.OFF


def days_of(row: AutoReply) -> str:
    """Return a sentence on the days of an auto-reply that is switched on; "" without any."""
    if not row.on:
        return ""
    days = {"first": _day(row.starts), "last": _day(row.ends)}
    if row.ends and _is_over(row):
        return _("Its last day, %(last)s, is past: it does not answer.") % days
    if row.starts and row.starts > localdate():
        if row.ends:
            return _("It answers from %(first)s until %(last)s.") % days
        return _("It answers from %(first)s.") % days
    return _("It answers until %(last)s.") % days if row.ends else ""


def silenced(row: ForwardingAddress | None) -> str:
    """Return why the auto-reply of a mailbox is never sent, if this forwards all mail past it."""
    if row is None or row.is_catch_all or row.keeps_copy():
        return ""
    of_it = AutoReply.objects.filter(account__domain=row.domain_id, account__name=row.local_part)
    if not of_it.filter(on=True).exists():
        return ""
    return _(
        "Mail for %(address)s is forwarded without a copy in the mailbox, so its auto-reply is "
        "never sent. To have it sent, let the forwarding keep the mail in the mailbox as well."
    ) % {"address": row}


def _held(row: AutoReply, progress: Progress) -> records.AutoReply | None:
    """Return what the server holds now."""
    if progress.change is None:
        return row.record()
    before = progress.change.before
    held = records.record_from(row.key, before) if before else None
    return held if isinstance(held, records.AutoReply) else None


def _answers(held: records.AutoReply | None) -> bool:
    """Say whether this answers today; days as text sort as they follow each other."""
    today = localdate().isoformat()
    return held is not None and held.starts <= today and (not held.ends or today <= held.ends)


def _is_over(row: AutoReply) -> bool:
    return bool(row.ends and row.ends < localdate())


def _day(day: date | None) -> str:
    """Return a day as people write it; the year only where it is not this one."""
    if day is None:
        return ""
    here = day.year == localdate().year
    return date_format(day, "MONTH_DAY_FORMAT" if here else "DATE_FORMAT")
