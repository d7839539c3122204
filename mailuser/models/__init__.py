"""What a mailbox's user may do, his language, and the mailbox's auto-reply."""

from mailuser.models.replies import AutoReply, reply_key
from mailuser.models.rights import (
    AccountRights,
    DomainRights,
    Preference,
    Rights,
    rights_in,
    rights_of,
)

__all__ = [
    "AccountRights",
    "AutoReply",
    "DomainRights",
    "Preference",
    "Rights",
    "reply_key",
    "rights_in",
    "rights_of",
]
