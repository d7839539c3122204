"""A mailbox of 200 MB in 4,000 messages goes into an archive, beside gzip doing the same bytes.

A private mail server holds them in one mailbox; half of the messages are text, the others have
attachments. By turns the whole job is done (Dovecot asked, files read, compressed, hashed, synced,
on record, expunged) and `cat FILES | gzip -6`. Then a mailbox of 2 GB is archived in a process of
its own, whose largest size in memory counts.
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median

from bench._figures import figure, note, quick
from bench._mailserver import mail_server
from mailhost import archive, homes
from mailhost.config import HostConfig
from mailhost.paths import Paths
from mailhost.records import HostedDomain, Mailbox

HASH = "{SHA512-CRYPT}$6$rounds=20000$abcdefghijklmnop$" + "x" * 86
DOMAIN = "bench.example"
BOX = Mailbox("bench", DOMAIN, uuid.uuid4().hex, HASH, 1 << 40)
MESSAGE_BYTES = 50_000
_ALONE = """
import resource, sys
from pathlib import Path
from mailhost import archive
made = archive.take(Path(sys.argv[1]), sys.argv[2], require_full=False)
print(made.mail_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Letters:
    """Messages as customers get them, roughly: prose of a vocabulary, and attachments."""

    #: Bodies that come again and again; gzip looks back over 32 KB, less than one of them.
    DIFFERENT = 200

    def __init__(self, seed: int) -> None:
        """Begin with a vocabulary whose words are as unevenly frequent as a language's."""
        self._random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgkqjxz"
        self._words = [
            "".join(self._random.choices(letters, range(26, 0, -1), k=self._random.randint(1, 11)))
            for _ in range(20_000)
        ]
        self._weights = [1 / (rank + 3) for rank in range(len(self._words))]
        self._bodies = [self._body(attached=bool(n % 2)) for n in range(self.DIFFERENT)]

    def message(self, number: int) -> bytes:
        """Return one message; every other has an attachment that is compressed already."""
        sender = f"friend{number % 50}@outside.test"
        head = (
            f"Return-Path: <{sender}>\nFrom: {sender}\nTo: bench@{DOMAIN}\n"
            f"Message-ID: <{self._random.getrandbits(64):x}@outside.test>\n"
            f"Subject: {' '.join(self._random.choices(self._words, self._weights, k=5))}\n\n"
        )
        return head.encode() + self._bodies[number % self.DIFFERENT]

    def _body(self, *, attached: bool) -> bytes:
        extra = b""
        if attached:
            data = self._random.randbytes(MESSAGE_BYTES * 9 // 16)
            extra = b"\n--b\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(data)
        size = MESSAGE_BYTES - len(extra)
        words = self._random.choices(self._words, self._weights, k=size // 5)
        lines = [" ".join(words[n : n + 11]) for n in range(0, len(words), 11)]
        return "\n".join(lines).encode()[: size - 1] + b"\n" + extra


def _make_letters(place: Path, count: int) -> int:
    """Write so many messages into a directory; return their bytes."""
    letters = Letters(4)
    place.mkdir()
    total = 0
    for number in range(count):
        message = letters.message(number)
        (place / f"{number:06}").write_bytes(message)
        total += len(message)
    return total


def _fill(root: Path, config: HostConfig, letters: Path, times: int) -> None:
    """Put all messages into the mailbox, so many times, by links."""
    inbox = Paths(root).home(BOX.mailbox_id) / "Maildir"
    for path in (
        inbox.parent.parent,
        inbox.parent,
        inbox,
        *(inbox / n for n in ("cur", "new", "tmp")),
    ):
        path.mkdir(exist_ok=True)
        os.chown(path, config.mail_uid, config.mail_gid)
    stamp = time.time_ns()
    for path in sorted(letters.iterdir()):
        os.chown(path, config.mail_uid, config.mail_gid)
        for n in range(times):
            (inbox / "new" / f"{stamp}.M{path.name}P{n}.bench").hardlink_to(path)
    # Indexed beforehand, as by a delivery.
    command = ["doveadm", "-c", str(Paths(root).dovecot_conf), "index", "-u", BOX.name, "INBOX"]
    subprocess.run(command, check=True)
    os.sync()


def _beside_gzip(root: Path, config: HostConfig, letters: Path, total: int, rounds: int) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    ratio = 0.0
    for _ in range(rounds):
        _fill(root, config, letters, 1)
        start = time.perf_counter()
        made = archive.take(root, BOX.name, require_full=False)
        ours.append(time.perf_counter() - start)
        assert made.mail_bytes == total
        packed = letters.parent / "gzip.gz"
        command = f"cat {letters}/* | gzip -6 > {packed}"
        start = time.perf_counter()
        subprocess.run(["sh", "-c", command], check=True)
        theirs.append(time.perf_counter() - start)
        ratio = made.file_bytes / packed.stat().st_size
    figure("archive_rate", total / median(ours) / 1e6, "MB/s")
    figure("gzip_rate", total / median(theirs) / 1e6, "MB/s")
    figure("archive_vs_gzip", median(theirs) / median(ours), "")
    figure("archive_size_vs_gzip", ratio, "")
    note(f"quickest: {total / min(ours) / 1e6:.0f} and {total / min(theirs) / 1e6:.0f} MB/s")


def _peak(root: Path, config: HostConfig, letters: Path, times: int) -> None:
    _fill(root, config, letters, times)
    command = [sys.executable, "-c", _ALONE, str(root), BOX.name]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    mail_bytes, peak = map(int, done.stdout.split())
    figure("archive_peak_2gb", peak / 1024, "MiB")
    note(f"{mail_bytes / 1e9:.2f} GB in {time.perf_counter() - start:.1f} s")


def main() -> int:
    """Measure with a mail server of its own."""
    quickly = quick(__doc__ or "")
    count, rounds, times = (40, 1, 2) if quickly else (4000, 5, 10)
    # The servers' users have to get through.
    place = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    place.chmod(0o711)
    try:
        records = [HostedDomain(DOMAIN, BOX.address, home=DOMAIN), BOX]
        root, letters = place / "mail", place / "letters"
        total = _make_letters(letters, count)
        with mail_server(root, "mail.bench.test", records) as config:
            # Loaded, not applied: nothing has made the home.
            homes.make(root / "homes", config, DOMAIN)
            _beside_gzip(root, config, letters, total, rounds)
            _peak(root, config, letters, times)
    finally:
        shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
