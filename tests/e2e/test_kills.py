"""Whatever kills the worker, the server ends up exactly as wanted, each change applied once.

Real processes are ended by kill -9 at random moments, from a fixed seed, while they hold the
server's lock. PLUSMAIL_SOAK=1 makes it 500 changes and 50 kills for each way of applying them;
else it is a tenth of that.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from tests.e2e.changes import NEW_PASSWORD, PASSWORD
from tests.e2e.product import SOAK, Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.soak, pytest.mark.timeout(5400 if SOAK else 500)]

CHANGES, KILLS = (500, 50) if SOAK else (50, 5)
SEED = 20261125
# So many changes come due before each kill: some kills come too late and do not count.
PORTION = CHANGES // (KILLS * 3)
SAMPLE = 40 if SOAK else 8
# Every move of a change to APPLIED, written down by the database itself.
WATCH = """
CREATE TABLE watched (change INTEGER, at TEXT DEFAULT (strftime('%f')));
CREATE TRIGGER watch AFTER UPDATE OF state ON propagation_change WHEN new.state = 'applied'
BEGIN INSERT INTO watched (change) VALUES (new.id); END;
"""


WORDS = ("worker", "command", "busy", "twice")


class Killing:
    """Many changes on their way, and what they shall come to."""

    def __init__(self, made: Product, word: str, passwords: dict[str, str]) -> None:
        """Make the changes, all still pending; what they are about is live."""
        self.made = made
        self.word = word
        self.chance = random.Random(SEED)
        self.first = made.rows("SELECT max(id) FROM propagation_change")[0][0] + 1
        self.passwords = {
            name: password for name, password in passwords.items() if name.endswith(f"-{word}")
        } | call(made, "make", word)
        assert made.states()["pending"] == CHANGES
        self.hits = 0
        self.span = 0.15  # seconds

    def kill_while_applying(self, kill: Callable[[], None]) -> None:
        """Let some changes come due, and kill in the midst of their being applied."""
        self.made.make_due(PORTION)
        assert wait_for_lock(self.made), "nobody applies what is due"
        time.sleep(self.chance.uniform(0, self.span))
        hit = self.made.applying()
        kill()
        self.hits += hit
        # Follow the machine's speed, so that all of the work is met and few kills come too late.
        self.span *= 1.1 if hit else 0.9


def call(made: Product, what: str, *words: str) -> dict[str, str]:
    """Have changes made by a process of its own; return the passwords that come of them."""
    printed = made.run(sys.executable, "-m", "tests.e2e.changes", what, str(CHANGES), *words)
    passwords: dict[str, str] = json.loads(printed)
    return passwords


def wait_for_lock(made: Product, seconds: float = 60.0) -> bool:
    """Wait, in steps of a millisecond, until somebody holds the server's lock."""
    end = time.monotonic() + seconds
    while not (held := made.applying()) and time.monotonic() < end:
        time.sleep(0.001)
    return held


@pytest.fixture(scope="module")
def many() -> Iterator[tuple[Product, dict[str, str]]]:
    """An installation with Redis but no worker yet, and the passwords of its mailboxes."""
    with product("redis", delay=900, SWEEP_SECONDS="1", MAILBOX_PASSWORD_ROUNDS="1000") as made:
        passwords = call(made, "before", *WORDS)
        made.manage("apply_changes", "--now")
        assert made.open_changes() == 0
        with closing(sqlite3.connect(made.database)) as connection:
            connection.executescript(WATCH)
        yield made, passwords


@pytest.fixture
def killing(
    many: tuple[Product, dict[str, str]], request: pytest.FixtureRequest
) -> Iterator[Killing]:
    """Changes of this test's own, all pending."""
    yield Killing(many[0], request.node.name.split("_")[1], many[1])
    for name in ("worker", "beat"):
        if many[0].is_running(name):
            many[0].stop(name)


def test_worker_killed_at_random_moments_loses_and_doubles_nothing(killing: Killing) -> None:
    made = killing.made
    made.start("beat", wait=False)
    while killing.hits < KILLS:
        assert made.states().get("pending"), f"only {killing.hits} kills hit an applying worker"
        if not made.is_running("worker"):
            made.start("worker", wait=False)
        # Now the process that applies, then all of the worker at once.
        child = killing.chance.random() < 0.5
        killing.kill_while_applying(partial(made.kill, "worker", child=child))
    if not made.is_running("worker"):
        made.start("worker", wait=False)
    made.make_due()
    assert made.settled(150), made.states()
    made.stop("worker", "beat")
    check(killing)


def test_command_killed_at_random_moments_loses_and_doubles_nothing(killing: Killing) -> None:
    made = killing.made
    while killing.hits < KILLS:
        assert made.states().get("pending"), f"only {killing.hits} kills hit the command"
        command = made.popen("apply_changes")
        killing.kill_while_applying(command.kill)
        command.communicate()
    made.manage("apply_changes", "--now")
    check(killing)


def check(killing: Killing) -> None:
    """The server holds what is wanted, and every change was applied exactly once."""
    made = killing.made
    assert made.states().keys() == {"applied"}
    query = "SELECT change, count(*) FROM watched WHERE change >= ? GROUP BY change ORDER BY change"
    watched = made.rows(query, killing.first)
    assert watched == [(number, 1) for number in range(killing.first, killing.first + CHANGES)]
    for name, wanted in wanted_maps(made).items():
        assert map_of(made, name) == wanted, name
    assert "0 difference(s) found." in made.manage("reconcile")
    deleted = [name for name, password in killing.passwords.items() if not password]
    ended = made.rows("SELECT name FROM accounts_deletedaccount ORDER BY name")
    assert sorted(deleted) == [name for (name,) in ended if name in killing.passwords]
    names = sorted(killing.passwords)
    for name in killing.chance.sample(names, SAMPLE) + deleted[:3]:
        for password in (PASSWORD, NEW_PASSWORD):
            allowed = password == killing.passwords[name]
            assert made.mail.can_log_in(name, password) == allowed, (name, password)


def wanted_maps(made: Product) -> dict[str, dict[str, str]]:
    """Return what each Postfix map shall hold, worked out from the panel's rows alone."""
    domains = dict(made.rows("SELECT name, name FROM accounts_domain"))
    boxes = {
        f"{name}@{domain}"
        for name, domain in made.rows(
            "SELECT a.name, d.name FROM accounts_account a JOIN accounts_domain d"
            " ON d.id = a.domain_id"
        )
    }
    aliases: dict[str, str] = {}
    for domain, name, home in made.rows(
        "SELECT d.name, a.name, h.name FROM accounts_domain d JOIN accounts_account a"
        " ON a.id = d.fixed_account_id JOIN accounts_domain h ON h.id = a.domain_id"
    ):
        fixed = f"{name}@{home}"
        label = domain.partition(".")[0]
        aliases |= {f"{local}@{domain}": fixed for local in ("postmaster", "abuse", label)}
        if f"{label}@{domain}" == fixed:
            del aliases[fixed]
    led: dict[str, list[str]] = {}
    for local, domain, to in made.rows(
        "SELECT f.local_part, d.name, t.address FROM forwarding_destination t"
        " JOIN forwarding_forwardingaddress f ON f.id = t.forwarding_id"
        " JOIN accounts_domain d ON d.id = f.domain_id ORDER BY t.position"
    ):
        led.setdefault(f"{local}@{domain}", []).append(to)
    aliases |= {address: ", ".join(leads) for address, leads in led.items()}
    held = {
        f"{name}@{domain}"
        for name, domain in made.rows(
            "SELECT a.name, d.name FROM accounts_deletedaccount a JOIN accounts_domain d"
            " ON d.id = a.domain_id"
        )
    } - boxes - led.keys()  # fmt: skip
    lists = {
        f"{local}{end}@{domain}"
        for local, domain in made.rows(
            "SELECT l.local_part, d.name FROM forwarding_mailinglist l JOIN accounts_domain d"
            " ON d.id = l.domain_id"
        )
        for end in ("", "-bounces")
    }
    return {
        "domains": domains,
        "mailboxes": {box: box for box in boxes | lists},
        "transport": dict.fromkeys(lists, "lists:unix:private/lists-lmtp"),
        "aliases": aliases | {address: address for address in held},
        "refused": dict.fromkeys(held, "550 5.1.1 User unknown"),
    }


def map_of(made: Product, name: str) -> dict[str, str]:
    """Return what Postfix's own program finds in a map."""
    root = made.mail.root
    command = ["/usr/sbin/postmap", "-c", str(root / "etc" / "postfix"), "-s"]
    printed = subprocess.run(
        [*command, f"lmdb:{root / 'maps' / name}"], capture_output=True, text=True, check=True
    ).stdout
    lines = (line.split("\t") for line in printed.splitlines())
    return dict(lines)


def test_busy_is_said_by_one_of_two_and_nothing_applied_twice(killing: Killing) -> None:
    made = killing.made
    made.make_due()
    first = made.popen("apply_changes")
    assert wait_for_lock(made)
    first.send_signal(signal.SIGSTOP)  # it holds the lock for as long as we look
    try:
        assert "another run is at work" in made.manage("apply_changes")
    finally:
        first.send_signal(signal.SIGCONT)
    printed, _nothing = first.communicate()
    assert f"{CHANGES} applied, 0 failed" in printed
    check(killing)


def test_twice_delivered_task_applies_nothing_twice(killing: Killing) -> None:
    made = killing.made
    made.make_due()
    [(server, name)] = made.rows("SELECT id, name FROM propagation_mailserver")
    for _delivery in range(2):
        made.send("propagation.tasks.apply_changes", server, queue=f"server.{name}")
    made.start("worker")
    assert wait_for(lambda: made.states().keys() == {"applied"}, 60), made.states()
    check(killing)
