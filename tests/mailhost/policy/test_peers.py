"""Whose the other end of a connection is: as the kernel tells it, and as nobody may make it say."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailhost.policy import peers
from mailhost.policy.peers import owner, owner_in, owner_told
from mailhost.policy.replies import REFUSED, TAKEN, UNKNOWN
from tests.mailhost.policy.post import Post

_US = os.geteuid()
_OTHER = 4711
_LITTLE = sys.byteorder == "little"
LOOPBACK = "0100007F" if _LITTLE else "7F000001"
LINE = (
    f"   3: {LOOPBACK}:C350 {LOOPBACK}:0A1D 01 00000000:00000000 02:000003F2 00000000  5000"
    "        0 8421 2 00000000d70838b3 20 4 30 10 -1\n"
)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


@dataclass
class Connection:
    """A connection on this machine, and its two ports."""

    client: socket.socket
    taken: socket.socket
    server: socket.socket

    @property
    def port(self) -> int:
        """Return whose owner is asked for."""
        return int(self.client.getsockname()[1])

    @property
    def server_port(self) -> int:
        """Return where it leads."""
        return int(self.server.getsockname()[1])


def connect(to: str = "127.0.0.1") -> Connection:
    """Return a connection by IPv4, or by IPv6 with the address of IPv4."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection((to, server.getsockname()[1]))
    return Connection(client, server.accept()[0], server)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection of this process with itself."""
    made = connect()
    with made.client, made.taken, made.server:
        yield made


@pytest.fixture(params=["sock_diag", "/proc/net/tcp"])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the kernel in each of the two ways."""
    if request.param == "/proc/net/tcp":
        monkeypatch.setattr(peers, "_tells_by_netlink", lambda: False)
    elif not peers._tells_by_netlink():
        pytest.skip("this kernel has no sock_diag")


# What the kernel tells


@pytest.mark.usefixtures("both")
def test_connection_is_its_makers(connection: Connection) -> None:
    assert owner(connection.port, connection.server_port) == _US
    if _US == 0:
        os.chown(connection.client.fileno(), _OTHER, -1)
        assert owner(connection.port, connection.server_port) == _OTHER
    # Neither who only listens, nor another port.
    assert owner(connection.server_port, connection.server_port) is None
    assert owner(0, connection.server_port) is None
    assert owner(connection.port, 1) is None


@pytest.mark.usefixtures("both")
def test_closed_or_half_closed_connection_is_nobodys(connection: Connection) -> None:
    connection.client.shutdown(socket.SHUT_WR)
    assert owner(connection.port, connection.server_port) is None
    port = connection.port
    connection.client.close()
    assert owner(port, connection.server_port) is None


@pytest.mark.allow_hosts(["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.usefixtures("both")
def test_connection_by_ipv6_that_looks_like_ipv4_is_nobodys() -> None:
    try:
        made = connect("::ffff:127.0.0.1")
    except OSError:
        pytest.skip("no IPv6 here")
    with made.client, made.taken, made.server:
        assert made.taken.getpeername()[0] == "127.0.0.1"
        assert owner(made.port, made.server_port) is None


# What it says, read


def test_line_of_the_table_is_read() -> None:
    other = LINE.replace("C350", "C351").replace(" 5000 ", " 33 ")
    assert owner_in([HEAD, other, LINE], 0xC350, 0x0A1D) == 5000
    assert owner_in([HEAD, LINE, other], 0xC351, 0x0A1D) == 33
    assert owner_in([HEAD], 0xC350, 0x0A1D) is None


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(" 01 ", " 06 "),
        LINE.replace("C350", "c350"),
        LINE.replace(LOOPBACK, "0200007F"),
        LINE.replace(" 5000 ", " -1 "),
        LINE.replace(" 5000 ", " x "),
        LINE.replace(" 5000 ", " \u0665 "),
        LINE.partition("  5000")[0],
        LINE.replace("   3: ", ""),
        "x" + LINE.replace(": ", ":", 1),
    ],
)
def test_line_that_is_not_about_it_counts_for_nothing(line: str) -> None:
    assert owner_in([HEAD, line], 0xC350, 0x0A1D) is None


@given(st.lists(st.text(max_size=200) | st.sampled_from(LINE.split())).map(" ".join))
@example("\0" * 100)
@example(LINE[:60])
def test_no_table_makes_it_fall_or_finds_a_user_without_the_connection(text: str) -> None:
    found = owner_in(text.splitlines(keepends=True), 0xC350, 0x0A1D)
    assert found is None or (f"{LOOPBACK}:C350" in text and f"{LOOPBACK}:0A1D" in text)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0" * 16)
@example(b"\0\0\0\0\2\0" + b"\0" * 10 + b"\xff\xff\xff\x7f")
def test_no_answer_of_netlink_makes_it_fall(answer: bytes) -> None:
    ends = b"\x12\x34\x56\x78" + b"\x7f\0\0\1" * 2
    with suppress(OSError):
        assert owner_told(answer, ends) is None


# What Postfix is answered


def ask(post: Post, client: Connection, **attributes: str) -> str:
    """Ask as Postfix does on the port for auto-replies."""
    usual = {"client_address": "127.0.0.1", "client_port": str(client.port)}
    return post.ask(policy_context="reply", **(usual | attributes))


@pytest.fixture
def post(tmp_path: Path, connection: Connection) -> Iterator[Post]:
    """A policy daemon whose port for auto-replies is the connection's."""
    with closing(Post(tmp_path, reply_port=connection.server_port, mail_uid=_OTHER)) as made:
        yield made


@pytest.mark.skipif(_US != 0, reason="only root can give a socket away")
def test_mails_owner_is_let_in_and_nobody_else(
    post: Post, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(post, connection) == REFUSED
    assert f"user={_US} " in caplog.text
    os.chown(connection.client.fileno(), 33, -1)
    assert ask(post, connection) == REFUSED
    os.chown(connection.client.fileno(), _OTHER, -1)
    assert ask(post, connection) == TAKEN
    for attributes in (
        {"client_address": "::1"},
        {"client_address": "127.0.0.2"},
        {"client_address": ""},
        {"client_port": ""},
        {"client_port": "unknown"},
        {"client_port": "0"},
        {"client_port": "-1"},
        {"client_port": "\u0661"},
        {"client_port": "9" * 60},
        {"client_port": f"0{connection.port}0"},
    ):
        assert ask(post, connection, **attributes) == REFUSED
    connection.client.shutdown(socket.SHUT_RDWR)
    assert ask(post, connection) == REFUSED


def test_kernel_that_tells_nothing_lets_nobody_in(
    post: Post, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "_tells_by_netlink", lambda: False)
    monkeypatch.setattr(peers, "_TABLE", tmp_path / "none")
    assert ask(post, connection) == UNKNOWN
