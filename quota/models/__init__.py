"""What the mail servers report, one module for each kind of figures."""

from quota.models.sending import (
    LATE,
    REFUSALS_KEPT,
    Guessing,
    GuessingQuerySet,
    Refusal,
    Report,
    SendingHour,
    SendingHourQuerySet,
    SendingWindow,
)

__all__ = [
    "LATE",
    "REFUSALS_KEPT",
    "Guessing",
    "GuessingQuerySet",
    "Refusal",
    "Report",
    "SendingHour",
    "SendingHourQuerySet",
    "SendingWindow",
]
