"""Which Wednesday a run stands for, and whether it comes in time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.utils.timezone import localtime

from quota.wednesday import WEDNESDAY, run_on

#: A run that begins later than this after its hour was missed first.
GRACE = timedelta(minutes=15)


def latest(moment: datetime) -> date:
    """Return the Wednesday whose hour came last, at that moment."""
    today = localtime(moment).date()
    day = today - timedelta(days=(today.weekday() - WEDNESDAY) % 7)
    return day if run_on(day) <= moment else day - timedelta(days=7)


def is_the_day(day: date, moment: datetime) -> bool:
    """Whether it is that day still."""
    return localtime(moment).date() == day


def is_late(day: date, moment: datetime) -> bool:
    """Whether a run of that Wednesday which begins now had been missed."""
    return moment - run_on(day) > GRACE
