"""How much a mailbox may hold: its own limit or, at 0, that of its domain's plan.

As SQL, for Dovecot reads the store itself. Each is an expression about a row of `mailbox` that
the query calls `m`, and is an integer of bytes.
"""

from __future__ import annotations

from mailhost.config import HostConfig
from mailhost.records import PlanLimits

_DEFAULT = PlanLimits("default").mailbox_bytes
# A domain may be without a plan, and a plan unknown, for what an earlier version left.
_PLANS = (
    "(SELECT json_extract(p.value, '$.mailbox_bytes')"
    " FROM record AS d JOIN record AS p ON p.key = 'plan:' || json_extract(d.value, '$.plan')"
    " WHERE d.key = 'domain:' || m.domain)"
)
#: The limit in force.
LIMIT = f"coalesce(nullif(m.quota_bytes, 0), {_PLANS}, {_DEFAULT})"

#: Every mailbox with its limit at once: (mailbox_id, name, domain, limit), in the order of ids.
ALL = f"""
WITH plan (domain, bytes) AS MATERIALIZED (
    SELECT substr(d.key, length('domain:') + 1), json_extract(p.value, '$.mailbox_bytes')
    FROM record AS d JOIN record AS p ON p.key = 'plan:' || json_extract(d.value, '$.plan')
    WHERE d.key >= 'domain:' AND d.key < 'domain;'
)
SELECT m.mailbox_id, m.name, m.domain,
    coalesce(nullif(m.quota_bytes, 0), plan.bytes, {_DEFAULT})
FROM mailbox AS m LEFT JOIN plan ON plan.domain = m.domain
WHERE m.state <> 'closing' ORDER BY m.mailbox_id
"""  # noqa: S608 (a number)
#: What Dovecot answers for a copy that a full mailbox cannot take.
FULL = "The mailbox is full"

# Header lines that Postfix and Dovecot add after a message's size was judged.
_TRACE = 64 * 1024


def grace(config: HostConfig) -> int:
    """Return by how many bytes the last message may cross the limit: the largest there is.

    So every mailbox becomes full in the end, and the message that fills it is still delivered.
    """
    return config.message_size_limit + _TRACE


def reserve(config: HostConfig) -> str:
    """Return, as SQL, how many bytes beyond the limit still go into Trash and Sent.

    Unless the operator has chosen less, all that a full mailbox can hold: some programs delete
    by copying everything to Trash at once.
    """
    if config.trash_reserve:
        return str(config.trash_reserve)
    return f"({LIMIT} + {2 * grace(config)})"
