"""Compare what the panel wants with what a mail server has, and mend the server.

The panel's wish wins. Records with an open change are left to that change: it
carries the whole record, and mends whatever it finds. Needed after a backup of
either side was brought back, or after somebody edited a server's files by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction

from mailhost.host import Difference, Host
from mailhost.records import Record
from propagation.apply import apply_due
from propagation.models import Change, MailServer, one_at_a_time, parts
from propagation.numbers import number_above
from propagation.sources import source_of, sources

#: Records mended in one transaction. After an update all may differ, and edits wait for each.
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A record that the server holds otherwise than the panel wants; None: not at all."""

    key: str
    wanted: Record | None
    found: Record | None

    def __str__(self) -> str:
        return f"{self.key}: wanted {_shown(self.wanted)}, found {_shown(self.found)}"


def compare(server: MailServer) -> tuple[list[Mismatch], list[Difference]]:
    """Return how the server's store differs from the panel, and its files from its store.

    Raises NotHere on a machine without this server, Busy while a batch is applied.
    """
    with server.host() as host, host.lock():
        return list(_mismatches(server, host)), host.differences()


def repair(server: MailServer) -> tuple[list[Mismatch], list[Difference]]:
    """Mend what compare() finds, and return it; compare again to see whether all is well."""
    since = Change.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    with server.host() as host, host.lock():
        differences = host.repair()
        suspects = list(_mismatches(server, host))
        newest = host.highest_change()
    with transaction.atomic():
        one_at_a_time()
        number_above(newest)
    mended = [item for some in parts(suspects, AT_ONCE) for item in _propose(server, some, since)]
    apply_due(server)
    return mended, differences


@transaction.atomic
def _propose(server: MailServer, suspects: Sequence[Mismatch], since: int) -> list[Mismatch]:
    """Make a change that is due at once for each that still differs, and return those.

    What has no change of a number above `since` was not edited since the comparison began.
    """
    one_at_a_time()
    mine = Change.objects.of(server.pk, [suspect.key for suspect in suspects])
    edited = set(mine.filter(pk__gt=since).values_list("key", flat=True))
    mended = [
        found
        for suspect in suspects
        if (found := _still(server, suspect) if suspect.key in edited else suspect)
    ]
    Change.objects.mend(server, [(item.found, item.wanted) for item in mended])
    return mended


def _mismatches(server: MailServer, host: Host) -> Iterator[Mismatch]:
    """Yield the records that differ and have no open change."""
    held = {entry.key: entry.record for entry in host.records()}
    moving = set(Change.objects.open().filter(server=server).values_list("key", flat=True))
    for source in sources().values():
        for record in source.records(server):
            found = held.pop(record.key, None)
            if found != record and record.key not in moving:
                yield Mismatch(record.key, record, found)
    for key, found in held.items():
        if key not in moving:
            yield Mismatch(key, None, found)


def _still(server: MailServer, suspect: Mismatch) -> Mismatch | None:
    """Look again at what differed, now that no edit can come in between.

    An edit made during the comparison has its own change, with its own time to be
    taken back; it is left alone.
    """
    if Change.objects.open().of(server.pk, [suspect.key]).exists():
        return None
    wanted = source_of(suspect.key).record(server, suspect.key)
    if wanted == suspect.found:
        return None
    return Mismatch(suspect.key, wanted, suspect.found)


def _shown(record: Record | None) -> str:
    """Return a record for the terminal; its repr leaves the password hash out."""
    return "nothing" if record is None else repr(record)
