"""Forwarding addresses and mailing lists; one module per noun."""

from forwarding.models.base import AtAnAddress
from forwarding.models.forwards import (
    Destination,
    DetachedDestination,
    ForwardingAddress,
    ForwardingQuerySet,
    attach_again,
    detach,
)
from forwarding.models.lists import (
    MAX_MEMBERS,
    MailingList,
    MailingListQuerySet,
    Member,
    Posters,
    clean_list_name,
    clean_title,
)

__all__ = [
    "MAX_MEMBERS",
    "AtAnAddress",
    "Destination",
    "DetachedDestination",
    "ForwardingAddress",
    "ForwardingQuerySet",
    "MailingList",
    "MailingListQuerySet",
    "Member",
    "Posters",
    "attach_again",
    "clean_list_name",
    "clean_title",
    "detach",
]
