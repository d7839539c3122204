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
from quota.models.usage import (
    ALMOST,
    FULL,
    NEARLY,
    MailboxUsage,
    MailboxUsageQuerySet,
    Notice,
    UsageReport,
    UsageWarning,
    WaitingMail,
    on_server,
)

__all__ = [
    "ALMOST",
    "FULL",
    "LATE",
    "NEARLY",
    "REFUSALS_KEPT",
    "Guessing",
    "GuessingQuerySet",
    "MailboxUsage",
    "MailboxUsageQuerySet",
    "Notice",
    "Refusal",
    "Report",
    "SendingHour",
    "SendingHourQuerySet",
    "SendingWindow",
    "UsageReport",
    "UsageWarning",
    "WaitingMail",
    "on_server",
]
