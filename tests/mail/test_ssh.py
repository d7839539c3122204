"""Reading mail by SSH, by a real client at a terminal: what one gets, and all that one does not."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String

from mailhost import instance
from mailhost.paths import Paths
from mailhost.policy import report
from mailhost.processes import master
from mailhost.records import Mailbox
from mailhost.ssh import messages
from mailhost.ssh.keeper import Keeper
from mailhost.ssh.sandbox import Sandbox
from tests.mail.conftest import Site, applied, new_site
from tests.mail.terminals import PATIENCE, Screen, alpine, environ, said, screen, ssh
from tests.servers import PASSWORD, REPOSITORY, MailServer, free_ports, mail_server, wait_for

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(instance.missing_for("ssh")), reason="no Alpine in a sandbox here"),
]

NEW = "another-horse-battery"
ANOTHER = "127.0.0.2"
RETURN, CANCEL = "\r", "\x03"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A mail server of this module's own, with SSH."""
    (port,) = free_ports(1)
    with mail_server(ssh_port=port) as running:
        yield running


@pytest.fixture(scope="module")
def place(server: MailServer) -> Site:
    """A domain of this module's own."""
    return new_site(server)


@pytest.fixture(scope="module")
def alice(place: Site) -> Mailbox:
    """An account that has SSH."""
    box = place.mailbox("alice", ssh=True)
    assert applied(place.put(box))
    return box


@pytest.fixture(scope="module")
def bob(place: Site) -> Mailbox:
    """An account that has none."""
    box = place.mailbox("bob")
    assert applied(place.put(box))
    return box


def post(server: MailServer, box: Mailbox, subject: str, text: str) -> None:
    """Deliver mail as Japanese programs have written it for thirty years."""
    mail = MIMEText(text, "plain", "iso-2022-jp")
    mail["From"] = f"{Header('山田', 'iso-2022-jp').encode()} <yamada@outside.test>"
    mail["Date"] = formatdate()
    mail["To"], mail["Subject"] = box.address, Header(subject, "iso-2022-jp").encode()
    before = len(server.messages(box.name))
    with server.smtp() as client:
        client.sendmail("yamada@outside.test", [box.address], mail.as_bytes())
    assert wait_for(lambda: len(server.messages(box.name)) > before)


def count(server: MailServer, box: Mailbox) -> int:
    client = server.imap(box.name)
    try:
        return int(client.select("INBOX")[1][0] or 0)
    finally:
        client.logout()


def test_reads_answers_and_deletes(server: MailServer, place: Site) -> None:
    carol, friend = place.mailbox("carol", ssh=True), place.mailbox("friend")
    assert applied(place.put(carol, friend))
    post(server, carol, "ご注文の件", "日本語の本文です。")
    # By the whole address, as for POP; from an address of its own.
    with alpine(server, carol.address, "-b", ANOTHER) as seen:
        seen.type("i", "ご注文の件")
        assert "山田" in seen.text
        seen.type(RETURN, "日本語の本文です。")
        seen.type("<", "MESSAGE INDEX")
        # Deleted, and gone for other programs.
        seen.type("d", "marked for deletion", "deleted")
        seen.type("x", "Expunge")
        seen.type("y", "expunged")
        assert count(server, carol) == 0
        seen.type("c", "COMPOSE MESSAGE")
        seen.type(f"{friend.address}{RETURN}{RETURN}{RETURN}re: ご注文{RETURN}", "ご注文")
        seen.type("届きました", "届きました")
        seen.type("\x18", "Send message?")
        seen.type("y", "Create?")
        seen.type("y", "MESSAGE INDEX", "MAIN MENU")
        seen.type("q", "Really quit")
        seen.type("y", "Alpine finished", "Closing")
        assert seen.ends()
    mail = wait_for(lambda: server.messages(friend.name))[0]
    assert b"From: " + carol.address.encode() in mail
    # Whose the message is, and from where it came: as by the customers' own ports.
    assert f"[{ANOTHER}]".encode() in mail
    lines = list(report.lines(server.root, carol.name, time.time()))
    assert any("1 of " in line for line in lines), lines
    assert any(ANOTHER in line for line in lines), lines


def refused(server: MailServer, login: str, password: str = PASSWORD) -> str:
    """Return what a client is told that does not get in."""
    done = said(ssh(server, login, "-tt"), password)
    assert "Permission denied (password)" in done.stderr, (done.stdout, done.stderr)
    assert not done.stdout
    return done.stderr.replace(login, "LOGIN")


def test_without_the_switch_it_is_as_a_wrong_password(
    server: MailServer, alice: Mailbox, bob: Mailbox
) -> None:
    assert server.can_log_in(bob.name)
    words = {
        refused(server, bob.name),
        refused(server, bob.address),
        refused(server, alice.name, "wrong"),
        refused(server, "nobody-at-all"),
        refused(server, f"{alice.name}*panel"),
        refused(server, "root"),
    }
    assert len(words) == 1, words


def test_login_opens_no_sending(server: MailServer, place: Site) -> None:
    box = place.mailbox("frank", ssh=True)
    assert applied(place.put(box))
    with alpine(server, box.name, "-b", "127.0.0.9"):
        with server.smtp("127.0.0.9") as client:
            client.ehlo()
            client.mail(box.address)
            assert client.rcpt("x@outside.test")[0] == 550
        lines = list(report.lines(server.root, box.name, time.time()))
        assert any("open from nowhere" in line for line in lines), lines


# What leads out of Alpine


def test_keys_that_lead_out_lead_nowhere(server: MailServer, alice: Mailbox, bob: Mailbox) -> None:
    post(server, alice, "first", "http://outside.test/ here")
    post(server, bob, "secret", "for bob alone")
    with alpine(server, alice.name) as seen:
        seen.type("i", "first")
        for key, words in (
            ("|", 'Command "|" not defined'),
            ("!", 'Command "!" not defined'),
            ("\x1f", 'Command "^_" not defined'),
            ("y", 'Command "y" not defined'),
        ):
            seen.type(key, words)
        seen.type("%", "Print Message")
        seen.type("y", "Operation not permitted")
        # Read-only, and empty; and nothing else is a place.
        for path in ("x", "/etc/passwd"):
            seen.type("e", "EXPORT: Copy Msg")
            seen.type(f"{path}{RETURN}{CANCEL}", "[ViewMsg]")
            assert "copied" not in seen.text
        # A folder elsewhere is no file, and another's mailbox is one's own.
        for name in ("/etc/passwd", "#driver.unix/etc/passwd"):
            seen.type("g", "GOTO folder")
            seen.type(f"\x15{name}{RETURN}{CANCEL}", "[ViewMsg]")
            assert "Folder: INBOX" in seen.text
        inbox = f"{{127.0.0.1:143/imap/notls/user={bob.name}}}INBOX"
        seen.type("g", "GOTO folder")
        # What it says first, of a slow machine what it says last.
        seen.type(f"\x15{inbox}{RETURN}", "opened with", "DONE]")
        assert "secret" not in seen.text
        seen.type("g", "GOTO folder")
        other = f"{{127.0.0.1:{server.config.imap_port}/imap/notls/user={bob.name}}}INBOX"
        seen.type(f"\x15{other}{RETURN}", "Problem accessing folder")
        assert "secret" not in seen.text


def test_writing_takes_no_file_and_starts_no_program(
    server: MailServer, alice: Mailbox, bob: Mailbox
) -> None:
    with alpine(server, alice.name) as seen:
        seen.type("c", "COMPOSE MESSAGE")
        seen.type(f"x@outside.test{RETURN}{RETURN}", "x@outside.test")
        home = server.host.paths.home(bob.mailbox_id)
        for path in ("/etc/passwd", "../etc/passwd", f"{home}/Maildir/new", "/home/.pinerc"):
            seen.type("\x0a", "File to attach")
            seen.type(path + RETURN, "Restricted mode allows attachments from /none only")
            # Any key takes the words away.
            seen.type("\x0c", "Attchmnt")
        seen.type("\x0a", "File to attach")
        seen.type("\x14", "BROWSER")
        seen.type(RETURN, "Can't visit parent in restricted mode")
        seen.type("a", "Name of file to add")
        seen.type(f"x{RETURN}", "Read-only file system")
        seen.type("e", "COMPOSE MESSAGE")
        seen.type(f"{RETURN}{RETURN}subject{RETURN}words", "words")
        for path in ("/etc/passwd", "../../etc/passwd", str(home)):
            seen.type("\x12", "File to insert")
            seen.type(path + RETURN, "Can't insert file from outside of /none")
            seen.type("\x0c", "words")
        for key, words in (
            ("\x1f", "Unknown Command"),
            ("\x1a", "Unknown Command: ^Z"),
            ("\x14", "Spell-checking file"),
        ):
            seen.type(key, words)
            seen.type("\x0c", "words")
        # The sender stays whose mailbox it is.
        seen.type("\x19" * 3, "To      :")
        seen.type("\x12", "Fcc")
        assert "From" not in seen.text.partition("Message Text")[0]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        # The remark on the key comes with the next one.
        ("i\x1a ", "suspension not enabled"),
        ("sP", 'Command "P" not defined'),
        ("sN", 'Command "N" not defined'),
        ("sC", 'Command "C" not defined'),
        ("sS", 'Command "S" not defined'),
        ("sX", "Need argument"),
        ("sLA", "Can't add to sys-admin defined collection"),
        ("sDA", "Can't change sys-admin defined directory list"),
        ("sAA", "Sys. Mgmt. does not allow changing address books"),
        ("sRF", "Can't change sys-admin defined Filtering Rules"),
        ("sRS", "Can't change sys-admin defined Scoring Rules"),
        ("sRO", "Can't change sys-admin defined Other Rules"),
    ],
)
def test_setup_brings_nothing_back(
    server: MailServer, alice: Mailbox, keys: str, words: str
) -> None:
    # A session each: Alpine shows one remark for some seconds before the next.
    with alpine(server, alice.name) as seen:
        for key in keys[:-1]:
            before = seen.text
            seen.type(key, "")
            assert seen.changes(from_=before)
        seen.type(keys[-1], words)
        assert "Roles" not in seen.text.splitlines()[-2]


# What SSH itself offers elsewhere


def test_there_is_no_command_no_sftp_and_no_forwarding(server: MailServer, alice: Mailbox) -> None:
    pop3 = server.config.pop3_port
    for command in ("id", "/bin/sh", "alpine", "", "internal-sftp"):
        for options in ((), ("-tt",)):
            if not command and options:
                continue
            done = said([*ssh(server, alice.name, *options), *filter(None, [command])])
            assert done.returncode != 0
            assert "uid=" not in done.stdout
            assert "ALPINE" not in done.stdout
    done = said(ssh(server, alice.name, program="sftp"))
    assert done.returncode != 0
    assert "sftp>" not in done.stdout
    done = said(ssh(server, alice.name, "-W", f"127.0.0.1:{pop3}"))
    assert "+OK" not in done.stdout
    assert "forwarding failed" in done.stderr
    done = said(ssh(server, alice.name, "-s", "sftp"))
    assert done.returncode != 0


def test_nothing_listens_for_a_client(server: MailServer, alice: Mailbox) -> None:
    local, remote, dynamic = free_ports(3)
    forward = f"127.0.0.1:{server.config.pop3_port}"
    done = said(
        ssh(server, alice.name, "-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{remote}:{forward}")
    )
    assert done.returncode != 0
    command = ssh(
        server, alice.name, "-N", "-A", "-X", "-L", f"{local}:{forward}", "-D", str(dynamic)
    )
    with subprocess.Popen(command, env=environ(), stdin=subprocess.DEVNULL) as client:
        try:
            assert wait_for(lambda: _accepts(local) and _accepts(dynamic), PATIENCE)
            with socket.create_connection(("127.0.0.1", local), 10) as tunnel:
                assert tunnel.recv(100) == b""
            with socket.create_connection(("127.0.0.1", dynamic), 10) as tunnel:
                # SOCKS 4: to Dovecot.
                tunnel.sendall(b"\x04\x01" + server.config.pop3_port.to_bytes(2, "big"))
                tunnel.sendall(b"\x7f\x00\x00\x01\x00")
                assert b"+OK" not in tunnel.recv(100)
        finally:
            # sshpass alone: with its terminal gone, ssh ends by itself.
            client.kill()
    assert wait_for(lambda: not _accepts(local))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def test_nothing_is_kept_of_what_a_client_says_without_end(
    server: MailServer, alice: Mailbox
) -> None:
    keeper = master(Paths(server.root), "ssh")
    door = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0]
    before = _megabytes_of(door)
    asyncio.run(_say_environment(server, alice, megabytes=64))
    assert _megabytes_of(door) - before < 32


def _megabytes_of(process: str) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


async def _say_environment(server: MailServer, box: Mailbox, megabytes: int) -> None:
    port = server.config.ssh_port
    async with asyncssh.connect(
        "127.0.0.1", port, username=box.name, password=PASSWORD, known_hosts=None, config=None
    ) as client:
        channel, _session = await client.create_session(
            asyncssh.SSHClientSession, term_type="xterm", encoding=None
        )
        for number in range(megabytes * 32):
            name, value = String(f"NAME{number}"), String(b"x" * 32768)
            # Each is answered, so that it is known to have arrived.
            assert await channel._make_request(b"env", name, value)


# The end of a session


@pytest.mark.parametrize("how", ["switched off", "password", "deleted"])
def test_a_change_ends_open_sessions(server: MailServer, place: Site, how: str) -> None:
    box = place.mailbox(f"dora-{how.split()[0]}", ssh=True)
    assert applied(place.put(box))
    with alpine(server, box.name) as seen:
        if how == "deleted":
            done = place.delete(box)
        elif how == "password":
            hashed = place.mailbox("x", NEW).password_hash
            done = place.put(replace(box, password_hash=hashed))
        else:
            done = place.put(replace(box, ssh=False))
        assert applied(done), done
        assert seen.ends()
        assert "Your access has been changed." in seen.text
    assert refused(server, box.name)
    if how == "password":
        with alpine(server, box.name, password=NEW):
            pass


def test_sessions_of_an_account_are_bounded(server: MailServer, place: Site) -> None:
    box = place.mailbox("erin", ssh=True)
    assert applied(place.put(box))
    opened: list[Screen] = []
    try:
        for _ in range(3):
            opened.append(Screen(ssh(server, box.name, "-tt")))
        for one in opened:
            assert one.shows("Folder: INBOX")
        with screen(server, box.name) as fourth:
            assert fourth.ends()
            assert "3 sessions open already" in fourth.text
    finally:
        for one in opened:
            one.close()
    # Whoever is gone makes room.
    with alpine(server, box.name):
        pass


def test_secrets_are_in_no_log_and_no_command_line(server: MailServer, alice: Mailbox) -> None:
    with alpine(server, alice.name):
        words = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, check=True).stdout
        seen = words.decode(errors="replace")
        assert "bwrap" in seen
        assert PASSWORD not in seen
    for log in server.host.paths.log.glob("*.log"):
        assert PASSWORD not in log.read_text(errors="replace"), log
    key = server.host.paths.ssh_host_key
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    instance.init(server.root, server.config)
    assert key.read_bytes() == before


def test_without_a_sandbox_nothing_is_served(server: MailServer) -> None:
    # As in a container that lets nobody mount anything.
    command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-m", "mailhost"]
    command += ["--root", str(server.root), "run", "ssh"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "No sandbox can be made on this machine: the kernel refuses it" in done.stderr
    assert "Mail works without SSH" in done.stderr


def test_keeper_starts_nothing_for_who_has_no_ssh(server: MailServer, bob: Mailbox) -> None:
    """What the door cannot have, even if it is somebody else's by then."""
    ours, theirs = messages.pair()
    with closing(ours), closing(theirs):
        keeper = Keeper(server.host.paths, server.config, Sandbox(), ours, ours, 0)
        leader, terminal = os.openpty()
        for name in (bob.name, "nobody", "../x", ""):
            message = {"do": "start", "number": 1, "account": name, "term": "xterm"}
            keeper.answer(message, [os.dup(terminal)])
            assert "error" in messages.receive(theirs)[0]
        keeper.answer({"do": "connect", "number": 2, "to": "/etc/passwd"}, [])
        assert "error" in messages.receive(theirs)[0]
        os.close(leader)
        os.close(terminal)
