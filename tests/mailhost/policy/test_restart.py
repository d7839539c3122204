"""The daemon itself, killed at any moment: it forgets nothing that it answered for."""

from __future__ import annotations

import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.config import HostConfig
from mailhost.host import Host
from mailhost.paths import Paths
from mailhost.records import Entry, HostedDomain, PlanLimits
from tests.idle import idle_server
from tests.mailhost.policy.logins import ALICE
from tests.servers import REPOSITORY, free_ports

pytestmark = pytest.mark.servers

QUESTION = """\
request=smtpd_access_policy
policy_context={context}
instance={instance}
sender=alice@example.com
recipient={recipient}
recipient_count={count}
size=100
sasl_username=alice
client_address=203.0.113.7

"""


@pytest.fixture
def root() -> Iterator[Path]:
    """A mail server of which nothing runs, with one account."""
    with idle_server("mail1.plusmail.test") as made:
        config = HostConfig("mail1.plusmail.test", policy_port=free_ports(1)[0])
        instance.init(made, config)
        records = (
            PlanLimits("big", recipients_per_day=10**6),
            HostedDomain("example.com", ALICE.address, plan="big"),
            ALICE,
        )
        with Host(made) as host, host.lock():
            host.load(records)
        yield made


class Daemon:
    """The running daemon, as Postfix meets it."""

    def __init__(self, root: Path) -> None:
        """Start it, and wait until it answers."""
        self.root = root
        command = [sys.executable, "-m", "mailhost.policy", str(root)]
        self.process = subprocess.Popen(command, cwd=REPOSITORY)
        assert not instance.wait_until_answering(root, "policy")

    def connect(self) -> socket.socket:
        """Connect as smtpd(8) does."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(Paths(self.root).policy_socket))
        return client

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def running(root: Path) -> Iterator[Daemon]:
    daemon = Daemon(root)
    try:
        yield daemon
    finally:
        daemon.kill()


def counted(root: Path) -> int:
    with closing(sqlite3.connect(Paths(root).policy / "policy.sqlite3")) as db:
        return int(db.execute("SELECT coalesce(sum(recipients), 0) FROM count").fetchone()[0])


def question(instance_: str, recipient: str = "", count: int = 0) -> bytes:
    context = "end_submission" if count else "submission"
    values = {"instance": instance_, "recipient": recipient, "count": count}
    return QUESTION.format(context=context, **values).encode()


def test_socket_is_postfixs_and_the_file_is_closed_to_others(root: Path) -> None:
    paths = Paths(root)
    with running(root) as daemon:
        assert paths.policy_socket.stat().st_mode & 0o777 == 0o660
        assert paths.policy_socket.group() == "postfix"
        for file in paths.policy.glob("policy.sqlite3*"):
            assert file.stat().st_mode & 0o077 == 0
        assert daemon.end() == 0
        assert not paths.policy_socket.exists()


def test_changed_limits_hold_at_once(root: Path) -> None:
    with running(root) as daemon, daemon.connect() as client:
        client.sendall(question("1.1.1.0", "a@outside.test"))
        assert client.recv(100) == b"action=DUNNO\n\n"
        with Host(root) as host, host.lock():
            plan = PlanLimits("big", recipients_per_message=1)
            host.apply([Entry(plan.key, 10**6, plan)])
        client.sendall(question("1.1.1.0", "b@outside.test"))
        assert client.recv(1000).startswith(b"action=550 5.5.3")


def test_killed_twenty_times_it_has_counted_all_that_was_accepted(root: Path) -> None:
    """Messages go on over a kill, as Postfix goes on: by asking once more on a new connection."""
    chance = random.Random(1)
    accepted = in_flight = 0
    for life in range(20):
        with running(root) as daemon:
            clients = [daemon.connect() for _ in range(5)]
            for turn in range(chance.randrange(5, 30)):
                for number, client in enumerate(clients):
                    name = f"{number:x}.{life:x}.{turn:x}.0"
                    for n in range(4):
                        client.sendall(question(name, f"p{n}@outside.test") * 2)
                        assert read(client, 2)
                    client.sendall(question(name, count=8))
                    assert read(client, 1)
                    accepted += 4
            for number, client in enumerate(clients):
                # Asked, and perhaps answered; nobody waits for it.
                client.sendall(question(f"{number:x}.{life:x}.x.0", "last@outside.test"))
                in_flight += 1
            if chance.random() < 0.5:
                assert read(clients[0], 1)
            daemon.kill()
            for client in clients:
                client.close()
    with running(root):
        assert accepted <= counted(root) <= accepted + in_flight


def read(client: socket.socket, answers: int) -> bool:
    """Read so many answers, all of them a yes."""
    data = b""
    while data.count(b"\n\n") < answers:
        more = client.recv(4096)
        assert more
        data += more
    return data == b"action=DUNNO\n\n" * answers


def test_message_goes_on_after_a_kill_and_counts_once(root: Path) -> None:
    limit = 100
    name = "1a2b.1.1.0"
    for part in range(4):
        with running(root) as daemon, daemon.connect() as client:
            for n in range(25 * (part + 1)):
                client.sendall(question(name, f"p{n}@outside.test"))
                assert read(client, 1)
            daemon.kill()
    with running(root) as daemon, daemon.connect() as client:
        client.sendall(question(name, "more@outside.test"))
        assert client.recv(1000).startswith(b"action=550 5.5.3")
        client.sendall(question(name, count=limit))
        assert read(client, 1)
        daemon.kill()
    with running(root) as daemon, daemon.connect() as client:
        client.sendall(question(name, count=limit))
        assert read(client, 1)
        assert counted(root) == limit


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01])
def test_told_to_end_many_times_nothing_is_left(root: Path, pause: float) -> None:
    command = [sys.executable, "-m", "mailhost", "--root", str(root), "run", "policy"]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    assert not instance.wait_until_answering(root, "policy")
    for _ in range(50):
        process.send_signal(signal.SIGTERM)
        time.sleep(pause)
    process.wait(30)
    assert not instance.running(root, "policy")
