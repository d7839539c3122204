"""What the scheme of a mailbox's password costs: to verify, as each login does, and to make.

The verifications are Dovecot's own, asked over the socket that its login processes use
(the Dovecot Authentication Protocol), many at a time; passdb, SQLite store and workers
are those of the product. Beside how many it did in a second stands the processor time
that each took, which other work on the machine hardly changes.
"""

from __future__ import annotations

import base64
import os
import poplib
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench._figures import figure, milliseconds, quick
from bench._mailserver import mail_server
from bench._panel import panel
from mailhost.config import HostConfig
from mailhost.paths import Paths
from mailhost.processes import master
from mailhost.records import HostedDomain, Mailbox, Record

COSTS = [
    *(("SHA512-CRYPT", rounds) for rounds in (5_000, 10_000, 20_000, 50_000, 100_000)),
    *(("BLF-CRYPT", cost) for cost in (8, 10, 12)),
]
PASSWORD = "correct-horse-battery"
DOMAIN = "bench.example"
AT_ONCE = 8
#: Logins a second of 10,000 mailboxes that are polled every five minutes.
POLLING = 10_000 / 300


def make(scheme: str, cost: int) -> str:
    """Return a hash as the panel makes it with these settings."""
    from django.test import override_settings

    from accounts.passwords import make_hash

    with override_settings(MAILBOX_PASSWORD_SCHEME=scheme, MAILBOX_PASSWORD_ROUNDS=cost):
        return make_hash(PASSWORD)


def name_of(scheme: str, cost: int) -> str:
    """Return the name of the mailbox with a hash of this cost; figures bear it too."""
    return f"{scheme.partition('-')[0].lower()}_{cost}"


class AuthClient:
    """What a login process is to Dovecot's auth, except that nobody is logged in."""

    def __init__(self, path: Path) -> None:
        """Connect and shake hands."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(f"VERSION\t1\t1\nCPID\t{os.getpid()}\n".encode())
        while self._lines.readline().rstrip() != b"DONE":
            pass

    def __enter__(self) -> AuthClient:
        """Disconnect at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Disconnect."""
        self._lines.close()
        self._socket.close()

    def verify(self, name: str, seconds: float) -> int:
        """Have the password verified over and over; return how many times it was."""
        answer = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
        rest = f"PLAIN\tservice=pop3\tsecured\tno-penalty\tnologin\tresp={answer}\n"
        end = time.monotonic() + seconds
        asked = done = 0
        while done < asked or time.monotonic() < end:
            while asked - done < AT_ONCE and time.monotonic() < end:
                asked += 1
                self._socket.sendall(f"AUTH\t{asked}\t{rest}".encode())
            line = self._lines.readline()
            assert line.startswith(b"OK\t"), line
            done += 1
        return done


def processor_time(root: Path) -> float:
    """Return the seconds of processor time that Dovecot's processes have used (proc(5))."""
    leader = master(Paths(root), "dovecot")
    return sum(_seconds(process) for process in _descendants(leader or 0))


def _descendants(process: int) -> Iterator[int]:
    """Yield a process after all below it: what ends meanwhile is counted by its parent."""
    with suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield from _descendants(int(child))
    yield process


def _seconds(process: int) -> float:
    """Return a process's time and that of its ended children; none once it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _records() -> Iterator[Record]:
    yield HostedDomain(DOMAIN, f"bench@{DOMAIN}")
    for scheme, cost in COSTS:
        name = name_of(scheme, cost)
        yield Mailbox(name, DOMAIN, uuid.uuid4().hex, make(scheme, cost), 10_000_000)


def _making(scheme: str, cost: int, runs: int) -> list[float]:
    return [milliseconds(lambda: make(scheme, cost)) for _ in range(runs)]


def _logins(config: HostConfig, root: Path, count: int) -> None:
    """Print what a whole POP3 login costs, with the hash that the settings ask for."""
    name = name_of("SHA512-CRYPT", 10_000)
    before = processor_time(root)
    for _ in range(count):
        client = poplib.POP3("127.0.0.1", config.pop3_port, timeout=30)
        client.user(name)
        client.pass_(PASSWORD)
        client.stat()
        client.quit()
    used = (processor_time(root) - before) / count
    figure("pop3_poll_cpu_sha512_10000", used * 1000, "ms")
    figure("pop3_polling_10k_share_of_two_cores", 100 * used * POLLING / 2, "%")


def measure(root: Path, quickly: bool) -> None:
    """Run a mail server with a mailbox of each kind and print all figures."""
    with mail_server(root, "mail1.bench.test", _records()) as config:
        for scheme, cost in COSTS:
            name = name_of(scheme, cost)
            with AuthClient(root / "run" / "auth-client") as client:
                client.verify(name, 0.1)
                before, start = processor_time(root), time.monotonic()
                count = client.verify(name, 0.2 if quickly else 8)
                took, used = time.monotonic() - start, processor_time(root) - before
            figure(f"verify_{name}", count / took, "/s")
            figure(f"verify_{name}_cpu", 1000 * used / count, "ms")
            figure(f"polling_10k_{name}", 100 * used / count * POLLING / 2, "% of two cores")
            figure(f"make_{name}", median(_making(scheme, cost, 1 if quickly else 7)), "ms")
        _logins(config, root, 5 if quickly else 300)


def main() -> int:
    """Measure with a panel and a mail server of their own."""
    quickly = quick(__doc__ or "")
    with panel() as place:
        measure(place / "servers" / "mail1.bench.test", quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
