"""What an account may send: its own limits, and where it has none, its plan's."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import Account, Domain


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are in bytes; 0 recipients a day of the whole domain: not counted together."""

    message_bytes: int
    list_message_bytes: int
    recipients_per_message: int
    recipients_per_day: int
    domain_recipients_per_day: int
    pop_before_smtp: bool


def limits_of(account: Account, domain: Domain) -> Limits:
    """Return the limits of an account of this domain."""
    plan = domain.plan
    return Limits(
        message_bytes=account.message_bytes or plan.message_bytes,
        list_message_bytes=account.list_message_bytes or plan.list_message_bytes,
        recipients_per_message=account.recipients_per_message or plan.recipients_per_message,
        recipients_per_day=account.recipients_per_day or plan.recipients_per_day,
        domain_recipients_per_day=plan.domain_recipients_per_day,
        pop_before_smtp=account.pop_before_smtp and plan.pop_before_smtp,
    )
