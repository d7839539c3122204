"""The policy daemon: questions answered a second, each recipient counted and committed before.

Twenty connections ask it about recipients of 500 authenticated accounts, ten to a message, and
about each message's end. Beside it, by turns in the same run, are asked a bare
`asyncio.Protocol` that always says `action=DUNNO`, and postfwd with a rate rule. At the end the
daemon's database has to hold exactly the recipients that were answered for. Then mail goes from
outside through Postfix to mailboxes, with its questions to the daemon and without.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from statistics import median

from bench._figures import figure, note, quick
from bench._policy_load import ACCOUNTS, Address, Measured, load
from bench._policy_postfix import postfix
from mailhost import instance
from mailhost.config import HostConfig
from mailhost.host import Host
from mailhost.paths import Paths
from mailhost.records import HostedDomain, Mailbox, PlanLimits, Record
from tests.servers import free_ports

DOMAIN = "bench.example"
HASH = "{SHA512-CRYPT}$6$rounds=20000$abcdefghijklmnop$" + "x" * 86
POSTFWD_RULE = "id=RATE; sasl_username=~/./; action=rate(sasl_username/1000000000/86400/421 no)"


def records() -> Iterator[Record]:
    """Yield 500 accounts of a plan that no run exhausts."""
    yield PlanLimits("bench", recipients_per_day=10**9)
    yield HostedDomain(DOMAIN, f"box0@{DOMAIN}", plan="bench")
    for n in range(ACCOUNTS):
        yield Mailbox(f"box{n}", DOMAIN, f"{n:032x}", HASH)


def wait_for(address: Address) -> None:
    """Wait until somebody listens there; RuntimeError if nobody does."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with suppress(OSError), socket.socket(family) as client:
            client.connect(address)
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {address}")


@contextmanager
def process(command: Sequence[str], address: Address) -> Iterator[None]:
    """Run a server until the block ends."""
    with subprocess.Popen(command) as running:
        try:
            wait_for(address)
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(30)


@contextmanager
def daemon(root: Path) -> Iterator[str]:
    """Make a mail server and run its policy daemon alone; give its socket."""
    config = HostConfig("mail1.bench.test", policy_port=free_ports(1)[0])
    instance.init(root, config)
    with Host(root) as host, host.lock():
        host.load(records())
    address = str(Paths(root).policy_socket)
    command = [sys.executable, "-m", "mailhost", "--root", str(root), "run", "policy"]
    with process(command, address):
        yield address


@contextmanager
def postfwd() -> Iterator[Address]:
    """Run Debian's postfwd with a rate rule; give its address."""
    address = ("127.0.0.1", free_ports(1)[0])
    with tempfile.TemporaryDirectory() as place:
        pid = Path(place) / "pid"
        command = ["postfwd1", "--daemon", "-i", address[0], "-p", str(address[1])]
        command += ["-r", POSTFWD_RULE, "--nodns", "--perfmon", "--pidfile", str(pid)]
        # It runs on its own; what is started here ends at once.
        subprocess.run([*command, "-u", "nobody", "-g", "nogroup"], check=True, timeout=30)
        wait_for(address)
        try:
            yield address
        finally:
            os.kill(int(pid.read_text()), signal.SIGTERM)


def counted(root: Path) -> int:
    """Return the recipients in the daemon's database."""
    with closing(sqlite3.connect(Paths(root).policy / "policy.sqlite3")) as db:
        return int(db.execute("SELECT coalesce(sum(recipients), 0) FROM count").fetchone()[0])


def rate(runs: Sequence[Measured]) -> float:
    """Return the median of the answers a second."""
    return median(run.answers / run.seconds for run in runs)


def measure(place: Path, quickly: bool) -> None:
    """Run all of them and print the figures."""
    seconds, rounds = (0.3, 1) if quickly else (3.0, 5)
    runs: dict[str, list[Measured]] = {}
    with ExitStack() as stack:
        addresses: dict[str, Address] = {"policy": stack.enter_context(daemon(place / "host"))}
        bare = str(place / "bare")
        stack.enter_context(process([sys.executable, "-m", "bench._policy_bare", bare], bare))
        addresses["bare"] = bare
        if shutil.which("postfwd1", path="/usr/sbin:/usr/bin"):
            addresses["postfwd"] = stack.enter_context(postfwd())
        for number in range(rounds + 1):
            for name, address in addresses.items():
                run = load(address, seconds, first=number << 20)
                runs.setdefault(name, []).append(run)
                if number:
                    note(f"{name}: {run.answers / run.seconds:.0f} a second")
        told = sum(run.recipients for run in runs["policy"])
        # Until now it may lie in the daemon's journal.
        time.sleep(2)
        assert counted(place / "host") == told, "what was answered is not what was counted"
    # The first of each only warmed up.
    measured = {name: all_[1:] for name, all_ in runs.items()}
    figure("policy_decisions", rate(measured["policy"]), "/s")
    figure("policy_p99", median(p99(run) for run in measured["policy"]) * 1000, "ms")
    figure("policy_bare", rate(measured["bare"]), "/s")
    figure("policy_vs_bare", rate(measured["policy"]) / rate(measured["bare"]), "")
    if "postfwd" in measured:
        figure("policy_postfwd", rate(measured["postfwd"]), "/s")
        figure("policy_vs_postfwd", rate(measured["policy"]) / rate(measured["postfwd"]), "")
    else:
        note("policy_vs_postfwd is left out: no postfwd here (deploy/install-packages bench)")


def through_postfix(place: Path, quickly: bool) -> None:
    """Print what asking the daemon costs mail from outside."""
    messages, rounds = (20, 1) if quickly else (1000, 5)
    with postfix(place / "mail", list(records()), [f"box{n}@{DOMAIN}" for n in range(50)]) as mail:
        rates: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(rounds):
            for daemon_asked, found in rates.items():
                mail.ask(daemon_asked)
                mail.rate(messages // 10)
                found.append(mail.rate(messages))
                note(f"through Postfix, asked {daemon_asked}: {found[-1]:.0f} a second")
    figure("postfix_messages", median(rates[True]), "/s")
    figure("postfix_with_policy", median(rates[True]) / median(rates[False]), "")


def p99(run: Measured) -> float:
    """Return the seconds within which 99 of 100 answers came."""
    return sorted(run.waits)[int(0.99 * (len(run.waits) - 1))]


def main() -> int:
    """Measure in a place of its own, which Postfix's user could reach."""
    quickly = quick(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        measure(Path(made), quickly)
        through_postfix(Path(made), quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
