"""Section 4 of the manual as it is written there, commands typed at the POP3 port; and mutt."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.mail.conftest import Site
from tests.mail.mutt import mutt, mutt_saw
from tests.servers import PASSWORD, wait_for

pytestmark = pytest.mark.servers


class Telnet:
    """`telnet DOMAIN 110`: lines out, lines in."""

    def __init__(self, connection: socket.socket) -> None:
        """Take a connection to the POP3 port."""
        self._connection = connection
        self._answers: BinaryIO = connection.makefile("rb")

    def read(self) -> str:
        """Return the next line."""
        return self._answers.readline().decode().rstrip("\r\n")

    def say(self, command: str) -> str:
        """Type a command; return the first line of the answer."""
        self._connection.sendall(command.encode() + b"\r\n")
        return self.read()

    def rest(self) -> list[str]:
        """Return the lines that follow, up to the dot (RFC 1939)."""
        return list(iter(self.read, "."))

    def hang_up(self) -> None:
        """Leave without a word."""
        self._answers.close()

    def ended(self) -> bool:
        """Say whether the server has hung up."""
        return self._answers.read(1) == b""


@contextmanager
def telnet(site: Site) -> Iterator[Telnet]:
    """Connect, and read the greeting."""
    address = ("127.0.0.1", site.server.config.pop3_port)
    with socket.create_connection(address, 10) as connection:
        typed = Telnet(connection)
        assert typed.read().startswith("+OK ")
        yield typed
        typed.hang_up()


def log_in(typed: Telnet, site: Site) -> None:
    assert typed.say(f"user {site.fixed.name}").startswith("+OK")
    assert typed.say(f"pass {PASSWORD}").startswith("+OK")


@pytest.fixture
def filled(site: Site) -> Site:
    """Three messages of ten lines each."""
    for n in (1, 2, 3):
        site.server.deliver(
            site.fixed.address, text="\n".join(f"message {n} line {m}" for m in range(1, 11))
        )
        assert site.server.got(site.fixed.name, f"message {n} line 10")
    return site


def test_commands_of_the_manual(filled: Site) -> None:
    with telnet(filled) as typed:
        log_in(typed, filled)
        assert typed.say("list").startswith("+OK 3 messages")
        assert [line.split()[0] for line in typed.rest()] == ["1", "2", "3"]
        assert typed.say("top 1 5").startswith("+OK")
        top = typed.rest()
        assert top[top.index("") + 1 :] == [f"message 1 line {m}" for m in range(1, 6)]
        assert any(line.startswith("Subject: ") for line in top)
        assert typed.say("retr 2").startswith("+OK")
        whole = typed.rest()
        assert whole[whole.index("") + 1 :][:10] == [f"message 2 line {m}" for m in range(1, 11)]
        assert typed.say("dele 3").startswith("+OK")
        assert typed.say("quit").startswith("+OK")
        assert typed.ended()
    with telnet(filled) as typed:
        log_in(typed, filled)
        assert typed.say("list").startswith("+OK 2 messages")
        typed.rest()
        assert typed.say("retr 3").startswith("-ERR")


def test_nothing_is_deleted_without_quit(filled: Site) -> None:
    with telnet(filled) as typed:
        log_in(typed, filled)
        assert typed.say("dele 1").startswith("+OK")
    assert len(filled.server.messages(filled.fixed.name)) == 3


def test_wrong_password_is_refused_and_the_right_one_taken_after_it(filled: Site) -> None:
    with telnet(filled) as typed:
        typed.say(f"user {filled.fixed.name}")
        assert typed.say("pass wrong-one").startswith("-ERR")
        assert typed.say("list").startswith("-ERR")
        log_in(typed, filled)


def test_top_and_uidl_as_remote_mail_programs_use_them(filled: Site) -> None:
    """nPOP and Becky! know messages again by UIDL and look at them by TOP n 0."""
    client = filled.server.pop3(filled.fixed.name)
    before = dict(line.split() for line in client.uidl()[1])
    assert len(set(before.values())) == 3
    assert all(re.fullmatch(rb"[!-~]{1,70}", word) for word in before.values())
    headers = [client.top(n, 0)[1] for n in (1, 2, 3)]
    assert all(lines[-1] == b"" for lines in headers)
    client.dele(1)
    client.quit()
    assert wait_for(lambda: len(filled.server.messages(filled.fixed.name)) == 2)
    client = filled.server.pop3(filled.fixed.name)
    after = dict(line.split() for line in client.uidl()[1])
    client.quit()
    assert after == {b"1": before[b"2"], b"2": before[b"3"]}


# No certificate is asked about on this machine; the password is not typed.
MUTT = f"set ssl_starttls=no ssl_force_tls=no imap_pass={PASSWORD} pop_pass={PASSWORD}"


@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_mutt_reads_the_mailbox(filled: Site, tmp_path: Path, protocol: str) -> None:
    config = filled.server.config
    port = config.imap_port if protocol == "imap" else config.pop3_port
    place = f"{protocol}://{filled.fixed.name}@127.0.0.1:{port}/"
    for n, piece in enumerate(mutt_saw(place, tmp_path, MUTT), 1):
        assert f"message {n} line 10".encode() in piece
    assert len(filled.server.messages(filled.fixed.name)) == n == 3
    keys = "<first-entry><delete-message><quit>"
    mutt(place, keys, tmp_path, MUTT, "set delete=yes quit=yes sort=mailbox-order")
    left = filled.server.messages(filled.fixed.name)
    assert [b"message 1 line 1" in one for one in left] == [False, False]
