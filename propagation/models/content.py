"""What a change holds of a record, its secret apart from what may be shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mailhost.records import Record, record_from

# The field of a record, by its kind, that no page, log or finished change may keep.
_SECRETS = {"mailbox": "password_hash", "list": "leave_key"}


@dataclass(frozen=True, slots=True)
class Content:
    """A record split in two: what may be shown, and its secret ("" where it has none)."""

    value: dict[str, Any] | None
    secret: str = ""

    @classmethod
    def of(cls, record: Record | None) -> Content:
        """Split `record`; None stands for "does not exist"."""
        if record is None:
            return cls(None)
        # As the database gives it back: lists, not tuples.
        value = json.loads(json.dumps(record.value()))
        return cls(value, value.pop(_secret_of(record.key), ""))

    def record(self, key: str) -> Record | None:
        """Put the record together again."""
        if self.value is None:
            return None
        secret = {_secret_of(key): self.secret} if self.secret else {}
        return record_from(key, {**self.value, **secret})


def _secret_of(key: str) -> str:
    """Return the name of the field that is secret in the record called `key`, "" if none is."""
    return _SECRETS.get(key.partition(":")[0], "")
