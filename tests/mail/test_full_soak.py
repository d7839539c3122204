"""Thousands of messages at once, some deleted meanwhile, the usage daemon killed: all is counted.

Dovecot's own pushed figures are wrong for good after such a load for many an account.
"""

from __future__ import annotations

import random
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mailhost.dovecot import Doveadm, Size
from mailhost.instance import missing_programs
from mailhost.records import Entry, HostedDomain, Mailbox, Record
from mailhost.usage import figures
from mailhost.usage.database import UsageDatabase
from tests.conftest import SOAK, tell
from tests.servers import MailServer, mail_server, mailbox, message, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.soak, pytest.mark.timeout(1800 if SOAK else 300)]

MESSAGES, KILLS = (2_000, 5) if SOAK else (200, 2)
SESSIONS, ACCOUNTS = 80, 40
DOMAIN = "soak.example.com"
#: Small enough that some mailboxes become full on the way.
LIMIT = 400_000


@pytest.fixture
def boxes() -> list[Mailbox]:
    """The mailboxes; a few take all that comes."""
    return [
        mailbox(f"box{n}", DOMAIN, quota_bytes=LIMIT if n % 4 else 50_000_000)
        for n in range(ACCOUNTS)
    ]


@pytest.fixture
def server(boxes: list[Mailbox]) -> Iterator[MailServer]:
    """A server that holds them."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server() as running:
        records: list[Record] = [HostedDomain(DOMAIN, boxes[0].address), *boxes]
        with running.host.lock():
            running.host.apply([Entry(r.key, n, r) for n, r in enumerate(records, 1)])
        yield running


def session(server: MailServer, boxes: list[Mailbox], count: int, number: int) -> int:
    """Send so many messages, each on a connection of its own; return how many were accepted."""
    chance, source = random.Random(number), f"127.0.1.{1 + number % SESSIONS}"
    accepted = 0
    for _ in range(count):
        # Most go to the same few: their deliveries meet.
        box = boxes[int(len(boxes) * chance.random() ** 2)]
        text = ("y" * chance.randrange(10, 80) + "\n") * chance.randrange(1, 600)
        with server.smtp(source) as client:
            client.mail("friend@outside.test")
            code, _ = client.rcpt(box.address)
            assert code in (250, 552)
            if code == 250:
                assert client.data(message(text=text))[0] == 250
                accepted += 1
            else:
                client.rset()
    return accepted


def delete_some(server: MailServer, boxes: list[Mailbox], ended: threading.Event) -> None:
    """Read and delete by POP3, at random, until the end."""
    chance = random.Random(3)
    while not ended.wait(0.1):
        client = server.pop3(chance.choice(boxes).name)
        for number in range(1, client.stat()[0] + 1):
            if chance.random() < 0.2:
                client.dele(number)
        client.quit()


def size_of(home: Path) -> Size:
    """Return what the files of a mailbox come to, with line ends of two bytes."""
    mails = [
        path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.parent.name in ("new", "cur")
    ]
    sizes = [len(mail) + mail.count(b"\n") - mail.count(b"\r\n") for mail in mails]
    return Size(len(sizes), sum(sizes))


def kilobytes(server: MailServer) -> dict[str, str]:
    """Return what `doveadm quota get` says of each mailbox."""
    command = [*Doveadm(server.host.paths).command, "-f", "tab", "quota", "get", "-A"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in said.splitlines()[1:]]
    return {row[0]: row[3] for row in rows if row[2] == "STORAGE"}


def none_waits_to_be_counted(server: MailServer) -> bool:
    """Say whether the daemon has asked about all."""
    with closing(UsageDatabase(server.host.paths.usage_db)) as db:
        return db.marked() == 0


def nothing_on_its_way(server: MailServer) -> bool:
    """Say whether Postfix delivers nothing now; what waits for room lies in `deferred`."""
    queue = server.host.paths.queue
    return not any(file for name in ("incoming", "active") for file in (queue / name).iterdir())


def all_agree(server: MailServer, boxes: list[Mailbox]) -> bool:
    """Say whether each figure is what Dovecot says now."""
    known = {box.name: figures.of_account(server.root, box.name) for box in boxes}
    own = Doveadm(server.host.paths).usage(list(known))
    return all(
        one is not None and Size(one.messages, one.used) == own[name] for name, one in known.items()
    )


def test_every_figure_is_dovecot_s_own_and_that_of_the_files(
    server: MailServer, boxes: list[Mailbox]
) -> None:
    seed = secrets.randbits(32) if SOAK else 1
    chance, ended = random.Random(seed), threading.Event()
    shares = [MESSAGES // SESSIONS + (n < MESSAGES % SESSIONS) for n in range(SESSIONS)]
    with ThreadPoolExecutor(SESSIONS + 1) as pool:
        deleting = pool.submit(delete_some, server, boxes, ended)
        sending = [
            pool.submit(session, server, boxes, share, seed * SESSIONS + n)
            for n, share in enumerate(shares)
        ]
        try:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.5, 3.0))
                server.kill("usage")
                time.sleep(chance.uniform(0.0, 2.0))
                server.start("usage")
            accepted = sum(sent.result() for sent in sending)
        finally:
            ended.set()
        deleting.result()
    assert wait_for(lambda: nothing_on_its_way(server), 60), server.logs()
    # What Dovecot still tells of the last deliveries takes seconds, longer on a busy machine.
    wait_for(lambda: none_waits_to_be_counted(server) and all_agree(server, boxes), 60)
    own, rounded = Doveadm(server.host.paths).usage([box.name for box in boxes]), kilobytes(server)
    full = {known.account for known in figures.full(server.root)}
    for box in boxes:
        known = figures.of_account(server.root, box.name)
        assert known, box.name
        files = size_of(server.host.paths.home(box.mailbox_id))
        assert Size(known.messages, known.used) == own[box.name] == files, (seed, box.name)
        assert str(-(-known.used // 1024)) == rounded[box.name]
        assert (box.name in full) == known.full == (known.used >= box.quota_bytes)
    total = sum(size.messages for size in own.values())
    tell(f"{accepted} accepted, {total} lie there, {len(full)} of {len(boxes)} full (seed {seed})")
