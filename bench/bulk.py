"""Imports of CSV files: 10,000 new accounts, each with a password made here, and 10,000 forwards.

On SQLite, in the worker's own function. Modoboa's import took 54 to 82 ms a row. Then the page of
the history of a domain with 100,000 entries, through Django's test client.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench._figures import figure, milliseconds, note, quick, spread
from bench._panel import panel

if TYPE_CHECKING:
    from accounts.models import Domain

ROWS = 10_000
#: Milliseconds a row.
MODOBOA = (54, 82)


def open_domain() -> Domain:
    """Make a customer with a domain whose plan has room."""
    from accounts.models import Customer, Domain, Plan, User
    from propagation.models import MailServer

    user = User.objects.create_user("bench")
    customer = Customer.objects.create(user=user, name="Bench")
    plan = Plan.objects.create(
        code="bench", name_ja="ベンチ", name_en="Bench", account_limit=1_000_000
    )
    server = MailServer.objects.create(name="mail1.bench.test")
    return Domain.objects.open(customer=customer, name="bench.example", plan=plan, server=server)


def timed(name: str, work: Callable[[], object]) -> float:
    """Print the processor's time beside that of the clock; return the latter in seconds."""
    begin = time.process_time()
    seconds = milliseconds(work) / 1000
    figure(f"{name}_cpu", time.process_time() - begin, "s")
    return seconds


def bring_in(domain: Domain, kind: str, text: str, count: int, name: str) -> float:
    """Import a file; return the seconds from its confirmation to its end."""
    from bulk import jobs
    from bulk.models import Import, ImportKind

    def check() -> None:
        jobs.check(domain, ImportKind(kind), text.encode(), file_name=name, by=None)

    figure(f"{name}_check", timed(f"{name}_check", check), "s")
    job = Import.objects.get(file_name=name)
    assert job.left().count() == count
    assert job.confirm()
    job.refresh_from_db()
    seconds = timed(name, lambda: jobs.work(job, seconds=3600))
    job.refresh_from_db()
    assert job.state == "done"
    assert job.counts()["add"] == count
    return seconds


def bring_in_accounts(domain: Domain, count: int) -> None:
    """Import so many accounts, and print what that takes beside what it took Modoboa."""
    from accounts import passwords

    hashing = milliseconds(lambda: [passwords.quick_hash("x" * 16) for _ in range(20)]) / 20
    note(f"a generated password's hash takes {hashing:.2f} ms")
    text = "name,password,ftp\n" + "".join(f"user{n:05},,\n" for n in range(count))
    seconds = bring_in(domain, "accounts", text, count, "import_10k")
    figure("import_10k", seconds, "s")
    figure("import_row", seconds * 1000 / count, "ms")
    figure("import_row_hash", hashing, "ms")
    low, high = (times / (seconds * 1000 / count) for times in MODOBOA)
    figure("import_row_vs_modoboa", low, "")
    note(f"Modoboa took {low:.0f} to {high:.0f} times as long a row")


def look_back(domain: Domain, entries: int) -> list[float]:
    """Return the milliseconds of the history's pages: first, middle, of one account."""
    from django.test import Client

    from history.acting import Actor, Hand
    from history.models import Entry, entry

    actor = Actor(Hand.CUSTOMER, "bench", "203.0.113.7")
    Entry.objects.bulk_create(
        (
            entry("mailbox.add", f"u{n}@{domain.name}", domain.name, {}, actor)
            for n in range(entries)
        ),
        batch_size=2000,
    )
    browser = Client()
    browser.force_login(domain.customer.user, "django.contrib.auth.backends.ModelBackend")
    times = []
    for query in ({}, {"page": str(entries // 100)}, {"q": "u7"}, {"sort": "mailbox"}) * 5:
        path = f"/domains/{domain.name}/history/"
        times.append(milliseconds(lambda: browser.get(path, query, headers={"host": "127.0.0.1"})))  # noqa: B023
    return times


def main() -> int:
    """Import both, and print the figures."""
    count = 50 if quick(__doc__ or "") else ROWS
    with panel():
        domain = open_domain()
        bring_in_accounts(domain, count)
        text = "address,destination,destination\n" + "".join(
            f"to{n:05},user{n:05}@bench.example,copy{n}@elsewhere.example\n" for n in range(count)
        )
        seconds = bring_in(domain, "forwards", text, count, "import_forwards_10k")
        figure("import_forwards_10k", seconds, "s")
        figure("import_forwards_row", seconds * 1000 / count, "ms")
        spread("history_page_100k", look_back(domain, 10 * count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
