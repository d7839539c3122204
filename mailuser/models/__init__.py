"""What a mailbox's user may do, and his language."""

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
    "DomainRights",
    "Preference",
    "Rights",
    "rights_in",
    "rights_of",
]
