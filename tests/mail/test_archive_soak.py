"""The job is killed again and again while mail comes in and a client deletes: nothing is lost.

In the end each message that was delivered and not deleted by the client is in exactly one place, a
mailbox or an archive, each byte the same. Then killed runs put all of it back, each once.
"""

from __future__ import annotations

import itertools
import poplib
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from mailhost import archive
from mailhost.archive import mbox
from mailhost.archive.scanning import Scanner
from mailhost.instance import missing_programs
from mailhost.records import Entry, HostedDomain, Mailbox, Record
from tests.conftest import SOAK, tell
from tests.mail.archives import lmtp, stored
from tests.servers import REPOSITORY, MailServer, mail_server, mailbox

pytestmark = [pytest.mark.servers, pytest.mark.soak, pytest.mark.timeout(3600 if SOAK else 300)]

KILLS, KILLS_BACK = (300, 100) if SOAK else (30, 10)
DOMAIN = "soak.example.com"
ACCOUNTS = 12
#: New messages before each run, so that there is something to be killed in.
MORE = 20
_TAKE = """
import sys
from pathlib import Path
from mailhost import archive
root, account = Path(sys.argv[1]), sys.argv[2]
print("go", flush=True)
archive.take(root, account, require_full=False)
print("done", flush=True)
"""
_PUT_BACK = _TAKE.replace(
    "archive.take(root, account, require_full=False)",
    "[archive.put_back(root, item.id) for item in archive.archives(root, account)]",
)
_NUMBER = re.compile(rb"^Subject: number (\d+)$", re.MULTILINE)


@dataclass
class Sent:
    """What was delivered, by number, and what the client has deleted or may have."""

    random: random.Random
    numbers: Iterator[int] = field(default_factory=itertools.count)
    delivered: dict[int, bytes] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def message(self) -> tuple[int, bytes]:
        """Return a new message, some of it awkward, and its number."""
        with self.lock:
            number = next(self.numbers)
            lines = self.random.choices(
                [b"From here", b">From there", b"a\rb\0c\xff", b"text " * 12, b""], k=60
            )
        return number, b"Subject: number %d\n\n%s\nend\n" % (number, b"\n".join(lines))

    def deliver(self, server: MailServer, address: str, count: int) -> None:
        """Deliver so many messages in one session."""
        new = [self.message() for _ in range(count)]
        lmtp(server, address, (data.replace(b"\n", b"\r\n") for _, data in new))
        with self.lock:
            self.delivered |= dict(new)


@contextmanager
def running(work: object, *arguments: object) -> Iterator[None]:
    """Do this work again and again in a thread until the end of the block; it must not fail."""
    over = threading.Event()
    failed: list[BaseException] = []

    def again() -> None:
        while not over.is_set():
            try:
                work(*arguments)  # type: ignore[operator]
            except BaseException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


def trickle(server: MailServer, boxes: list[Mailbox], sent: Sent) -> None:
    """Deliver a few messages, as all the time."""
    sent.deliver(server, sent.random.choice(boxes).address, 2)
    time.sleep(0.02)


def delete_some(server: MailServer, boxes: list[Mailbox], sent: Sent) -> None:
    """Delete some messages by POP3, as a mail program does after it has read them."""
    time.sleep(0.1)
    chosen: set[int] = set()
    # What the job has just taken the session does not find: it ends, and deletes nothing then.
    with suppress(poplib.error_proto, OSError):
        client = server.pop3(sent.random.choice(boxes).name)
        try:
            count = client.stat()[0]
            for number in sorted(sent.random.sample(range(1, count + 1), min(3, count))):
                head = b"\n".join(client.top(number, 0)[1])
                client.dele(number)
                found = _NUMBER.search(head)
                assert found
                chosen.add(int(found[1]))
                # From here on it may be gone.
                sent.deleted.add(int(found[1]))
            client.quit()
        finally:
            client.close()


def killed(server: MailServer, script: str, account: str, seconds: float) -> float | None:
    """Run a job and kill it after a time; return its own time if it came to its end before."""
    command = [sys.executable, "-c", script, str(server.root), account]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        assert job.stdout
        assert job.stderr
        assert job.stdout.readline() == b"go\n", job.stderr.read()
        start = time.monotonic()
        try:
            job.wait(seconds)
        except subprocess.TimeoutExpired:
            job.kill()
            return None
        assert job.stdout.read() == b"done\n", job.stderr.read()
        return time.monotonic() - start


def kill_often(
    server: MailServer, script: str, boxes: list[Mailbox], sent: Sent, kills: int, more: int
) -> None:
    """Kill the job so often, at moments spread over its whole time; some runs come to the end."""
    usual, done, ended = 1.0, 0, 0
    turn = itertools.cycle(boxes)
    while done < kills:
        box = next(turn)
        if more:
            sent.deliver(server, box.address, more)
        took = killed(server, script, box.name, sent.random.uniform(0, usual * 1.1))
        if took is None:
            done += 1
            # Or a slow machine's jobs would all be killed in their first part.
            usual *= 1.05
        else:
            ended += 1
            usual = 0.5 * usual + 0.5 * took
    tell(f"{done} kills, {ended} runs to the end, the last of some {usual:.2f} s")


def in_archives(server: MailServer) -> Counter[bytes]:
    """Return the messages in all archives."""
    found: Counter[bytes] = Counter()
    for item in archive.archives(server.root):
        assert item.state == "kept"
        with archive.open_file(server.root, item.id) as file:
            scanner, count = Scanner(file), 0
            while head := scanner.next():
                found[mbox.plain(scanner.read(head.masked))] += 1
                count += 1
            assert count == item.messages
    return found


def numbered(places: Counter[bytes]) -> Counter[int]:
    """Return how often each message is there, by its number."""
    found: Counter[int] = Counter()
    for data, count in places.items():
        match = _NUMBER.search(data)
        assert match
        found[int(match[1])] += count
    return found


@pytest.fixture
def server() -> Iterator[MailServer]:
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server() as running_server:
        yield running_server


def test_killed_jobs_lose_and_double_no_message(server: MailServer) -> None:
    boxes = [mailbox(f"soak{n}", DOMAIN, quota_bytes=10**9) for n in range(ACCOUNTS)]
    domain = HostedDomain(DOMAIN, boxes[0].address, home=DOMAIN)
    with server.host.lock():
        records: list[Record] = [domain, *boxes]
        server.host.apply([Entry(r.key, n, r) for n, r in enumerate(records, 1)])
    sent = Sent(random.Random(4))
    with running(trickle, server, boxes, sent), running(delete_some, server, boxes, sent):
        kill_often(server, _TAKE, boxes, sent, KILLS, MORE)
    assert not [item for item in archive.finish(server.root) if isinstance(item, Exception)]

    archived = in_archives(server)
    left = sum(
        (Counter(data for _, data in stored(server, box).elements()) for box in boxes), Counter()
    )
    places = numbered(archived + left)
    assert max(places.values()) == 1
    assert places.keys() <= sent.delivered.keys()
    assert sent.delivered.keys() - places.keys() <= sent.deleted
    for data in archived + left:
        match = _NUMBER.search(data)
        assert match
        # Delivery puts lines of its own before the message.
        assert data.endswith(sent.delivered[int(match[1])])
    tell(
        f"{len(sent.delivered)} delivered, {len(sent.deleted)} deleted by POP3,"
        f" {archived.total()} in {len(archive.archives(server.root))} archives,"
        f" {left.total()} in mailboxes; lost or doubled: 0"
    )

    kill_often(server, _PUT_BACK, boxes, sent, KILLS_BACK, 0)
    for item in archive.archives(server.root):
        archive.put_back(server.root, item.id)
    back = sum(
        (Counter(data for _, data in stored(server, box).elements()) for box in boxes), Counter()
    )
    assert back == archived + left
    for box in boxes:
        assert not list((server.host.paths.home(box.mailbox_id) / "Maildir/tmp").iterdir())
    tell(f"{archived.total()} put back by runs of which {KILLS_BACK} were killed: each once")
