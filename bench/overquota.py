"""Who is over quota: asked of the figures of a million mailboxes, and of Dovecot itself.

The usage daemon keeps what Dovecot said of each mailbox, so that the question is one read of an
index. Beside it, `doveadm quota get -A` asks Dovecot about every mailbox there is, on a running
server with a thousand of them; both are compared by their time for one mailbox. What it costs to
have a mailbox counted is printed too: that is paid after each change, not with each question.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from bench._figures import figure, milliseconds, note, quick
from bench._mailserver import mail_server
from mailhost.dovecot import Doveadm, Size
from mailhost.paths import Paths
from mailhost.records import HostedDomain, Mailbox, Record
from mailhost.usage import figures
from mailhost.usage.database import Box, UsageDatabase

DOMAIN = "bench.example"
HASH = "{SHA512-CRYPT}$6$rounds=20000$abcdefghijklmnop$" + "x" * 86
LIMIT = 10 * 1024 * 1024
#: One mailbox of so many is full.
FULL = 200
#: Messages in each mailbox that Dovecot is asked about.
MESSAGES = 5
_CHUNK = 5000


def fill(root: Path, count: int) -> None:
    """Write figures of so many mailboxes, as the usage daemon does."""
    with closing(UsageDatabase(Paths(root).usage_db)) as db:
        for first in range(0, count, _CHUNK):
            numbers = range(first, min(first + _CHUNK, count))
            boxes = [Box(f"{n:032x}", f"box{n:07}", DOMAIN, LIMIT) for n in numbers]
            sizes = {
                f"box{n:07}": Size(100, LIMIT + n if n % FULL == 0 else n * 7919 % LIMIT)
                for n in numbers
            }
            db.keep(boxes, sizes, time.time())


def find(root: Path, count: int, runs: int) -> float:
    """Return the milliseconds in which all full ones are found."""
    times = [milliseconds(lambda: figures.full(root)) for _ in range(runs)]
    assert len(figures.full(root)) == -(-count // FULL)
    note(f"found in {min(times):.1f} to {max(times):.1f} ms")
    return median(times)


def records(count: int) -> Iterator[Record]:
    """Yield a domain and its mailboxes."""
    yield HostedDomain(DOMAIN, f"box0@{DOMAIN}")
    for n in range(count):
        yield Mailbox(f"box{n}", DOMAIN, f"{n:032x}", HASH, LIMIT)


def put_mail(root: Path, count: int, uid: int) -> None:
    """Put a few messages into each mailbox, as files."""
    for n in range(count):
        maildir = Paths(root).home(f"{n:032x}") / "Maildir"
        for name in ("new", "cur", "tmp"):
            (maildir / name).mkdir(parents=True)
        text = f"Subject: {n}\n\n" + "hello, world\n" * 200
        for number in range(MESSAGES):
            (maildir / "cur" / f"{number}.bench,S={len(text)}:2,S").write_text(text)
        for path in (maildir.parent.parent, maildir.parent, maildir, *maildir.rglob("*")):
            os.chown(path, uid, uid)


def measure(place: Path, quickly: bool) -> None:
    """Print all figures."""
    many, boxes, runs = (10_000, 20, 3) if quickly else (1_000_000, 1000, 15)
    (place / "figures" / "usage").mkdir(parents=True)
    note(f"writing figures of {many} mailboxes")
    fill(place / "figures", many)
    found = find(place / "figures", many, runs)
    figure("overquota_find_1m", found, "ms")
    root = place / "host"
    with mail_server(root, "mail1.bench.test", records(boxes)) as config:
        put_mail(root, boxes, config.mail_uid)
        command = [*Doveadm(Paths(root)).command, "quota", "get", "-A"]
        asked, counted = _by_turns(root, command, boxes, 1 if quickly else 5)
    figure("overquota_doveadm", asked / boxes, "ms a mailbox")
    figure("overquota_count", counted / boxes, "ms a mailbox")
    figure("overquota_vs_doveadm", (asked / boxes) / (found / many), "")


def _by_turns(root: Path, command: Sequence[str], boxes: int, runs: int) -> tuple[float, float]:
    """Return the milliseconds of both ways to ask Dovecot about all mailboxes."""
    # The first time it reads each message.
    assert figures.recount(root) == boxes
    asked, counted = [], []
    for _ in range(runs):
        asked.append(
            milliseconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        )
        counted.append(milliseconds(lambda: figures.recount(root)))
    known = figures.of_account(root, "box1")
    assert known is not None
    assert known.messages == MESSAGES
    return median(asked), median(counted)


def main() -> int:
    """Measure in a place of its own, which the servers' users could reach."""
    quickly = quick(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        measure(Path(made), quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
