"""When the weekly job takes the mail of full mailboxes: Wednesdays at 4:00, the service's time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.utils.timezone import localtime, make_aware

#: Monday is 0.
WEDNESDAY = 2
#: When the job begins, by settings.TIME_ZONE.
HOUR = 4
#: A run that begins later than this after its hour was missed first.
GRACE = timedelta(minutes=15)


def next_run(at: datetime | None = None) -> datetime:
    """Return when the job runs next, seen from a moment (now)."""
    return run_on(latest(at) + timedelta(days=7))


def run_on(day: date) -> datetime:
    """Return the moment of a Wednesday's run."""
    return make_aware(datetime.combine(day, time(HOUR)))


def latest(at: datetime | None = None) -> date:
    """Return the Wednesday whose hour came last, seen from a moment (now)."""
    local = localtime(at)
    day = local.date() - timedelta(days=(local.weekday() - WEDNESDAY) % 7)
    return day if run_on(day) <= local else day - timedelta(days=7)


def is_the_day(day: date, moment: datetime) -> bool:
    """Whether it is that day still."""
    return localtime(moment).date() == day


def is_late(day: date, moment: datetime) -> bool:
    """Whether a run of that Wednesday which begins now had been missed."""
    return moment - run_on(day) > GRACE
