"""Changes brought to a mail server, end to end in the task's function.

Two private servers run side by side, one with 1,000 and one with 1,000,000
mailboxes, and take their turns, so that both meet the same load of the machine. The
panel's database has an ended change for every mailbox, as after years of use. Each
time is that of the task from its start until the panel has noted the changes as
applied: claimed, written, Postfix's maps flushed, both servers asked.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench._figures import figure, milliseconds, note, quick
from bench._mailserver import mail_server
from bench._panel import panel
from mailhost.records import Address, HostedDomain, Mailbox, Record

if TYPE_CHECKING:
    from propagation.models import MailServer

HASH = "{SHA512-CRYPT}$6$rounds=20000$abcdefghijklmnop$" + "x" * 86
QUOTA = 10_000_000
PER_DOMAIN = 1000
DOMAIN = "bench.example"
# One ended change is copied under other keys, quicker than the ORM makes a million.
HISTORY = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < %s)
INSERT INTO propagation_change ({columns}) SELECT {values} FROM propagation_change, number
WHERE id = %s
"""


class Site:
    """One mail server with its mailboxes, and the panel's side of it."""

    def __init__(self, server: MailServer) -> None:
        """Take a server that runs and is empty."""
        self.server = server
        self._names = (f"new{n}" for n in range(10**9))

    def remember(self, count: int) -> None:
        """Give the panel an ended change for each of so many mailboxes."""
        from django.db import connection

        from propagation.models import Change

        model = Change.objects.filter(server=self.server).latest("pk")
        columns = {field.attname: field.attname for field in Change._meta.local_fields}
        del columns["id"]
        columns |= {
            "key": "printf('mailbox:box%%07d', n)",
            "domain": "printf('d%%04d.example', n / 1000)",
        }
        columns["group"] = "printf('%%032x', n)"
        names = ", ".join(f'"{name}"' for name in columns)
        query = HISTORY.format(columns=names, values=", ".join(columns.values()))
        with connection.cursor() as cursor:
            cursor.execute(query, [count, model.pk])

    def new(self, count: int) -> list[Record]:
        """Return mailboxes that the server does not have."""
        return [self.mailbox(next(self._names)) for _ in range(count)]

    def mailbox(self, name: str, password_hash: str = HASH) -> Mailbox:
        """Return a mailbox of the domain that the changes are about."""
        return Mailbox(name, DOMAIN, uuid.uuid4().hex, password_hash, QUOTA)

    def take(self, *edits: tuple[Record | None, Record | None]) -> float:
        """Make these edits (before, after), due at once; return the task's milliseconds."""
        from django.utils.timezone import now

        from propagation.models import Change, ChangeState, Content
        from propagation.tasks import apply_changes

        moment = now()
        changes = []
        for before, after in edits:
            record = after or before
            assert record is not None
            old, new = Content.of(before), Content.of(after)
            changes.append(
                Change(
                    server=self.server,
                    key=record.key,
                    domain=DOMAIN,
                    before=old.value,
                    before_secret=old.secret,
                    after=new.value,
                    after_secret=new.secret,
                    made_at=moment,
                    due_at=moment,
                )
            )
        Change.objects.bulk_create(changes)
        took = milliseconds(lambda: apply_changes(self.server.pk))
        waiting = Change.objects.open().filter(server=self.server)
        assert not waiting.exists(), waiting.values_list("key", "state", "trouble")[:3]
        last = Change.objects.filter(server=self.server).latest("pk")
        assert last.state == ChangeState.APPLIED
        return took

    def add(self, count: int) -> float:
        """Add new mailboxes; return the milliseconds."""
        return self.take(*((None, record) for record in self.new(count)))


def _records(count: int) -> Iterator[Record]:
    """Yield domains of a thousand mailboxes each, every tenth of which is forwarded to.

    In the order of their keys and ids: SQLite takes a million so in a minute, not in six.
    """
    yield HostedDomain(DOMAIN, f"bench@{DOMAIN}")
    yield Mailbox("bench", DOMAIN, uuid.uuid4().hex, HASH, QUOTA)
    for n in range(count - 1):
        name, domain = f"box{n:07}", f"d{n // PER_DOMAIN:04}.example"
        if n % PER_DOMAIN == 0:
            yield HostedDomain(domain, f"{name}@{domain}")
        yield Mailbox(name, domain, f"{n:032x}", HASH, QUOTA)
        if n % 10 == 0:
            yield Address(f"info{n:07}", domain, (f"{name}@{domain}",))


def _one_at_a_time(small: Site, large: Site, runs: int) -> None:
    times: dict[str, list[float]] = {"1k": [], "1m": []}
    for _ in range(runs):
        times["1k"].append(small.add(1))
        times["1m"].append(large.add(1))
    figure("apply_1_at_1k", median(times["1k"]), "ms")
    figure("apply_1_at_1m", median(times["1m"]), "ms")
    figure("apply_1_ratio", median(times["1m"]) / median(times["1k"]), "")
    note(f"quickest: {min(times['1k']):.1f} and {min(times['1m']):.1f} ms")


def _other_kinds(site: Site, runs: int) -> None:
    """Print what the other edits cost: a forwarding address, a new password, a deletion."""
    times: dict[str, list[float]] = {"address": [], "password": [], "delete": []}
    for n in range(runs):
        box = site.mailbox(f"other{n}")
        site.take((None, box))
        address = Address(f"fwd{n}", DOMAIN, (box.address,))
        times["address"].append(site.take((None, address)))
        renewed = Mailbox(box.name, DOMAIN, box.mailbox_id, HASH.replace("x" * 86, "y" * 86), QUOTA)
        times["password"].append(site.take((box, renewed)))
        times["delete"].append(site.take((renewed, None)))
    for kind, values in times.items():
        figure(f"apply_1_{kind}_at_1m", median(values), "ms")


def measure(place: Path, quickly: bool) -> None:
    """Run both servers and print all figures."""
    from propagation.models import MailServer

    many, runs, batches = (2000, 2, 1) if quickly else (1_000_000, 40, 5)
    thousand, ten_thousand = (50, 300) if quickly else (1000, 10_000)
    with ExitStack() as stack:
        sites = []
        for name, count in (("small", 1000), ("large", many)):
            server = MailServer.objects.create(name=f"{name}.bench.test")
            root = place / "servers" / server.name
            note(f"filling {server} with {count} mailboxes")
            stack.enter_context(mail_server(root, server.name, _records(count)))
            sites.append(Site(server))
            sites[-1].add(1)
            sites[-1].remember(count)
        small, large = sites
        # The first run of a worker reads its modules and opens its files.
        small.add(1), large.add(1)
        _one_at_a_time(small, large, runs)
        _other_kinds(large, max(2, runs // 4))
        figure("apply_1000_at_1m", median(large.add(thousand) for _ in range(batches)), "ms")
        figure("apply_10k", median(large.add(ten_thousand) for _ in range(batches)) / 1000, "s")
        took = median(small.add(ten_thousand) for _ in range(max(1, batches - 2)))
        figure("apply_10k_at_1k", took / 1000, "s")


def main() -> int:
    """Measure with a panel of its own."""
    quickly = quick(__doc__ or "")
    with panel() as place:
        measure(place, quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
