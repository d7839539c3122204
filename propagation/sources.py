"""Where the records of a mail server come from, and who hears what became of them.

`propagation` carries records and never knows the apps that own them. Each app
names a RecordSource in settings.RECORD_SOURCES (dotted paths, like MIDDLEWARE).
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from mailhost.records import Record
from propagation.models import Change, MailServer


class RecordSource(Protocol):
    """What an app that owns one kind of record offers."""

    kind: str  # the part of a key before the first ":"

    def records(self, server: MailServer) -> Iterator[Record]:
        """Yield every record that `server` is wanted to hold, pending changes included."""

    def record(self, server: MailServer, key: str) -> Record | None:
        """Return the one record that `server` is wanted to hold as `key`; None: not at all."""

    def restore(self, change: Change) -> None:
        """Bring the object back to `change.before`, for a change that was just cancelled.

        Raises ValidationError, in words for the customer, where that is never allowed.
        """

    def check(self, change: Change) -> None:
        """Judge what restore() brought back, once everything that belongs to it is back.

        Raises ValidationError, in words for the customer, when an edit made meanwhile
        stands against it.
        """

    def applied(self, changes: Sequence[Change]) -> None:
        """Finish what only a confirmed change allows, such as removing the object's row."""

    def describe(self, change: Change) -> str:
        """Say in the reader's language what the change does, names unmarked."""


@cache
def sources() -> dict[str, RecordSource]:
    """Return the sources by the kind of record they own, in the order of the setting."""
    found: list[RecordSource] = [import_string(path) for path in settings.RECORD_SOURCES]
    return {source.kind: source for source in found}


def source_of(key: str) -> RecordSource:
    """Return the source that owns the record called `key`."""
    return sources()[key.partition(":")[0]]
