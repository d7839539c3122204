"""Compare what the panel wants with what a mail server has, and mend the server.

The panel's wish wins. Records with an open change are left to that change: it
carries the whole record, and mends whatever it finds. Needed after a backup of
either side was brought back, or after somebody edited a server's files by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction

from mailhost.host import Difference, Host
from mailhost.records import Record
from propagation.apply import apply_due
from propagation.models import Change, MailServer
from propagation.sources import sources


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
    """Mend what compare() finds, and return it."""
    with server.host() as host, host.lock():
        differences = host.repair()
        mismatches = list(_mismatches(server, host))
        newest = host.highest_change()
    with transaction.atomic():
        _number_above(newest)
        for mismatch in mismatches:
            Change.objects.propose(
                server, before=mismatch.found, after=mismatch.wanted, delay=timedelta()
            )
    apply_due(server)
    return mismatches, differences


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


def _number_above(number: int) -> None:
    """Let the next change be newer than every change the server has seen.

    A panel brought back from a backup would otherwise count from an older number, and
    the server would take its changes for old ones.
    """
    if number <= (Change.objects.order_by("-pk").values_list("pk", flat=True).first() or 0):
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence('propagation_change', 'id'), %s)", [number]
            )
        else:
            cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'propagation_change'")
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('propagation_change', %s)",
                [number],
            )


def _shown(record: Record | None) -> str:
    """Return a record for the terminal; its repr leaves the password hash out."""
    return "nothing" if record is None else repr(record)
