"""The mail servers and the changes on their way to them; one module per noun."""

from propagation.models.changes import (
    OPEN,
    PAUSES,
    Cause,
    Change,
    ChangeQuerySet,
    ChangeState,
    Need,
    Proposal,
    TooLate,
    due_from_now,
    parts,
)
from propagation.models.content import Content
from propagation.models.servers import MailServer, NotHere, one_at_a_time

__all__ = [
    "OPEN",
    "PAUSES",
    "Cause",
    "Change",
    "ChangeQuerySet",
    "ChangeState",
    "Content",
    "MailServer",
    "Need",
    "NotHere",
    "Proposal",
    "TooLate",
    "due_from_now",
    "one_at_a_time",
    "parts",
]
