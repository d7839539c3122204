"""When the weekly job takes the mail of full mailboxes: Wednesdays at 4:00, the service's time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.utils.timezone import localtime, make_aware

#: Monday is 0.
WEDNESDAY = 2
#: When the job begins, by settings.TIME_ZONE.
HOUR = 4


def next_run(at: datetime | None = None) -> datetime:
    """Return when the job runs next, seen from a moment (now)."""
    local = localtime(at)
    run = run_on(local.date() + timedelta(days=(WEDNESDAY - local.weekday()) % 7))
    return run if run > local else run_on(run.date() + timedelta(days=7))


def run_on(day: date) -> datetime:
    """Return the moment of a Wednesday's run."""
    return make_aware(datetime.combine(day, time(HOUR)))
