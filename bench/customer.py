"""Finding out what happens to mail: the address map, events of the mail server's log, a diagnosis.

The map is that of an address that leads over ten steps to a mailbox, one of 10,000 forwarding
addresses. Events are read from a log as Postfix writes it for mail from outside, for 1,000
mailboxes, into the daemon's database, and taken over from there by the panel. It holds 1,000,000
events of those mailboxes when diagnoses are asked for. An import of 10,000 accounts comes last.
Requests of pages come one after the other, in this process.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bulk
from bench._figures import figure, milliseconds, note, quick, spread
from bench._panel import panel
from standalone.place import HOST

if TYPE_CHECKING:
    from django.test import Client

    from accounts.models import Domain
    from tracing.models import MailEvent

DOMAIN = "bench.example"
PASSWORD = "correct-horse-battery"
DEPTH = 10
MAILBOXES = 1000
#: As Postfix 3.7 logs a message from outside into a mailbox, and one that is refused.
MESSAGE = """\
Nov 27 23:30:52 mail1 plusmail-mail1/smtpd[77]: connect from mx.outside.test[192.0.2.1]
Nov 27 23:30:52 mail1 plusmail-mail1/smtpd[77]: 4jb{n:08}: client=mx.outside.test[192.0.2.1]
Nov 27 23:30:52 mail1 plusmail-mail1/cleanup[78]: 4jb{n:08}: message-id=<{n}@outside.test>
Nov 27 23:30:52 mail1 plusmail-mail1/qmgr[7]: 4jb{n:08}: from=<f{n}@outside.test>, size=318, \
nrcpt=1 (queue active)
Nov 27 23:30:52 mail1 plusmail-mail1/smtpd[77]: disconnect from mx.outside.test[192.0.2.1] \
ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Nov 27 23:30:52 mail1 plusmail-mail1/lmtp[79]: 4jb{n:08}: to=<box{box}@bench.example>, \
relay=mail1.bench.test[private/dovecot-lmtp], delay=0.08, delays=0.05/0/0/0.04, dsn=2.0.0, \
status=sent (250 2.0.0 <box{box}@bench.example> 1KJfEEzkCWtdHgAAg+zDdQ Saved)
Nov 27 23:30:52 mail1 plusmail-mail1/qmgr[7]: 4jb{n:08}: removed
Nov 27 23:30:52 mail1 plusmail-mail1/smtpd[77]: NOQUEUE: reject: RCPT from unknown[192.0.2.9]: \
550 5.1.1 <nobody{n}@bench.example>: Recipient address rejected: User unknown in virtual mailbox \
table; from=<f{n}@outside.test> to=<nobody{n}@bench.example> proto=ESMTP helo=<mx.outside.test>
"""
#: Events of one MESSAGE: a delivery and a refusal.
EVENTS = 2


def _events(place: Path, messages: int) -> None:
    """Print what it takes to read events from a log into the daemon's database."""
    from mailhost.events.follower import Follower
    from mailhost.paths import Paths
    from mailhost.records import HostedDomain
    from tests.mailhost.usage.boxes import put

    paths = Paths(place / "events-bench")
    for directory in (paths.root, paths.store.parent, paths.events, paths.log):
        directory.mkdir()
    put(paths, HostedDomain(DOMAIN, f"bench@{DOMAIN}"))
    follower = Follower(paths)
    with (paths.log / "postfix.log").open("w") as log:
        log.writelines(MESSAGE.format(n=n, box=n % MAILBOXES) for n in range(messages))
    start, began = time.perf_counter(), time.process_time()
    while follower.turn():
        pass
    took, used = time.perf_counter() - start, time.process_time() - began
    assert follower.last_number() == EVENTS * messages
    follower.close()
    events, lines = EVENTS * messages, MESSAGE.count("\n") * messages
    figure("event_cost", took / events * 1e6, "us")
    figure("event_cost_cpu", used / events * 1e6, "us")
    figure("log_line_cost", took / lines * 1e6, "us")


def _collected(domain: Domain, place: Path) -> None:
    """Print what it takes the panel to take events over from the daemon's database."""
    from mailhost.config import HostConfig
    from tracing.collect import collect
    from tracing.models import MailEvent

    (place / "servers").mkdir()
    (place / "events-bench").rename(root := place / "servers" / domain.server.name)
    HostConfig(domain.server.name).save(root)
    # The log is of a year ago, and so old may the domain be.
    type(domain).objects.update(created_at=datetime(2000, 1, 1, tzinfo=UTC))
    with sqlite3.connect(root / "events" / "events.sqlite3") as db:
        db.execute("UPDATE event SET at = unixepoch()")
    db.close()
    start, began = time.perf_counter(), time.process_time()
    events = collect(domain.server)
    took, used = time.perf_counter() - start, time.process_time() - began
    assert MailEvent.objects.count() == events > 0
    figure("collect_cost", took / events * 1e6, "us")
    figure("collect_cost_cpu", used / events * 1e6, "us")
    MailEvent.objects.all().delete()


def _fill() -> tuple[Domain, Client]:
    """Make a customer with a domain of 10,000 forwards, ten of them in a row."""
    from django.test import Client

    from accounts.models import Account, Customer, Domain, Plan, User
    from forwarding.models import Destination, ForwardingAddress
    from propagation.models import Change, ChangeState, MailServer

    user = User.objects.create_user("bench")
    customer = Customer.objects.create(user=user, name="Bench")
    plan = Plan.objects.create(
        code="bench", name_ja="ベンチ", name_en="Bench", account_limit=1_000_000
    )
    server = MailServer.objects.create(name="mail1.bench.test")
    domain = Domain.objects.open(
        customer=customer, name=DOMAIN, plan=plan, server=server, password=PASSWORD
    )
    hashed = domain.fixed_account.password_hash
    Account.objects.bulk_create(
        Account(domain=domain, server=server, name=f"box{n}", password_hash=hashed)
        for n in range(MAILBOXES)
    )
    forwards = ForwardingAddress.objects.bulk_create(
        ForwardingAddress(domain=domain, local_part=f"to{n}") for n in range(10_000)
    )
    # The first ones lead to each other, the others to mailboxes.
    ends = [f"to{n + 1}" if n < DEPTH - 1 else f"box{n % MAILBOXES}" for n in range(len(forwards))]
    Destination.objects.bulk_create(
        Destination(forwarding=forward, position=0, address=f"{end}@{DOMAIN}")
        for forward, end in zip(forwards, ends, strict=True)
    )
    Change.objects.pending().end(ChangeState.APPLIED)
    client = Client(headers={"host": HOST})
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return domain, client


def _map(domain: Domain, client: Client, runs: int) -> None:
    """Print what the map of an address that leads over ten steps takes, and its page."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tracing.tree import tree_of

    with CaptureQueriesContext(connection) as queries:
        assert len(tree_of(domain, f"to0@{DOMAIN}").nodes()) == DEPTH + 1
    _spread("address_map_depth_10", [partial(tree_of, domain, f"to0@{DOMAIN}")] * runs)
    figure("address_map_depth_10_queries", len(queries), "queries")
    _spread("address_map_page", [partial(_page, client, "map", "to0")] * runs)


def _diagnoses(domain: Domain, client: Client, events: int, runs: int) -> None:
    """Print what a diagnosis takes, and its page, of addresses with many events and with few."""
    from tracing.diagnosis import diagnose

    _happen(domain, events)
    boxes = [f"box{n * 7 % MAILBOXES}@{DOMAIN}" for n in range(runs)]
    diagnose(domain, boxes[0])
    _spread("diagnose", [partial(diagnose, domain, box) for box in boxes])
    _spread("diagnose_page", [partial(_page, client, "why", box) for box in boxes])


def _happen(domain: Domain, events: int) -> None:
    """Let so many messages have been delivered and refused within 14 days."""
    from django.utils.timezone import now

    from tracing.models import EventReport, MailEvent

    known = {"known_since": now() - timedelta(days=14), "known_until": now()}
    EventReport.objects.update_or_create(server=domain.server, defaults=known)
    moment, portion = now() - timedelta(days=13), 50_000
    apart = timedelta(days=13) / events
    for first in range(0, events, portion):
        MailEvent.objects.bulk_create(_event(domain, n, moment + n * apart) for n in
                                      range(first, min(first + portion, events)))  # fmt: skip
        note(f"{first + portion} events")


def _event(domain: Domain, number: int, at: datetime) -> MailEvent:
    from tracing.models import MailEvent

    refused = number % 4 == 0
    return MailEvent(
        domain=domain,
        address=f"box{number * 31 % MAILBOXES}@{DOMAIN}",
        side="from" if number % 5 == 0 else "to",
        kind="refused" if refused else "delivered",
        at=at,
        other=f"f{number}@outside.test",
        relay="" if refused else "mailbox",
        code="5.7.1" if refused else "2.0.0",
        reason="Access denied, see https://outside.test/" if refused else "",
    )


def _spread(name: str, works: Sequence[Callable[[], object]]) -> None:
    """Print how long these take, and the processor time of one, which other work changes less."""
    began = time.process_time()
    spread(name, [milliseconds(work) for work in works])
    figure(f"{name}_cpu", (time.process_time() - began) / len(works) * 1000, "ms")


def _page(client: Client, page: str, address: str) -> None:
    """Ask for a whole page."""
    answer = client.get(f"/domains/{DOMAIN}/{page}/", {"address": address})
    assert answer.status_code == 200, answer.content[:2000]


def measure(place: Path, quickly: bool) -> None:
    """Fill the panel and print all figures."""
    from django.core.management import call_command

    messages, events, runs = (50, 2000, 5) if quickly else (50_000, 1_000_000, 200)
    _events(place, messages)
    call_command("collectstatic", verbosity=0, interactive=False)
    domain, client = _fill()
    _collected(domain, place)
    _map(domain, client, runs)
    _diagnoses(domain, client, events, runs)
    bulk.bring_in_accounts(domain, 50 if quickly else bulk.ROWS)


def main() -> int:
    """Measure with a panel of its own."""
    quickly = quick(__doc__ or "")
    with panel() as place:
        measure(place, quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
