"""What a change holds of a record, its secret apart from what may be shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mailhost.records import Record, record_from

# The field of a record that no page, log or finished change may keep.
SECRET = "password_hash"  # noqa: S105 (the name of a field)


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
        return cls(value, value.pop(SECRET, ""))

    def record(self, key: str) -> Record | None:
        """Put the record together again."""
        if self.value is None:
            return None
        return record_from(key, {**self.value, **({SECRET: self.secret} if self.secret else {})})
