"""What waits in the outbox since an earlier version learns what the sending rules need.

Until now a domain's record named neither owner nor plan, and a mailbox's had its plan's size
spelled out. An open change in that form would leave its domain without its plan's limits, and,
taken back, would give its account a size of its own.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import migrations


def renew(apps: Any, _editor: Any) -> None:
    """Rewrite the open changes of domains and mailboxes."""
    changes = apps.get_model("propagation", "Change").objects.filter(ended_at=None)
    for change in changes.filter(key__startswith="domain:"):
        name = change.key.partition(":")[2]
        domains = apps.get_model("accounts", "Domain").objects.select_related("plan")
        if domain := domains.filter(name=name).first():
            _write(change, {"owner": str(domain.customer_id), "plan": domain.plan.code})
    for change in changes.filter(key__startswith="mailbox:"):
        value = change.after or change.before
        accounts = apps.get_model("accounts", "Account").objects.select_related("domain__plan")
        account = accounts.filter(pk=uuid.UUID(hex=value["mailbox_id"])).first()
        if account and account.quota_bytes is None:
            _write(change, {"quota_bytes": 0}, instead_of=account.domain.plan.mailbox_bytes)


def _write(change: Any, fields: dict[str, Any], instead_of: int | None = None) -> None:
    """Put these fields into both of a change's values; the size only where it is the plan's."""
    for side in ("before", "after"):
        value = getattr(change, side)
        if value is not None and (instead_of is None or value["quota_bytes"] == instead_of):
            setattr(change, side, value | fields)
    change.save(update_fields=["before", "after"])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_sending_limits"),
        ("propagation", "0001_initial"),
    ]

    operations = [migrations.RunPython(renew, migrations.RunPython.noop)]
