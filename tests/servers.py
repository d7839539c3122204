"""A private mail server for tests, on free ports of 127.0.0.1, and the outside world.

`mail_server()` makes a root that the servers' own users can reach, starts
the policy daemon, Postfix and Dovecot as `python -m mailhost run` does, and ends every process
afterwards. `Sink` takes the mail that leaves for other domains. Customers connect from
addresses of their own, 127.0.0.2 and up: `source` in what follows.
"""

from __future__ import annotations

import imaplib
import itertools
import os
import poplib
import secrets
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from mailhost import instance
from mailhost.config import HostConfig
from mailhost.host import Host
from mailhost.policy import figures
from mailhost.processes import master
from mailhost.records import Mailbox

REPOSITORY = Path(__file__).parent.parent
T = TypeVar("T")
PASSWORD = "correct-horse-battery"
#: The page that refusals of customers' mail name.
HELP = "https://panel.plusmail.test/help/sending"
_PORTS = range(12_000, 32_000)
#: The servers that run now: a failed test shows their logs (tests/conftest.py).
running: list[MailServer] = []


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on, below those of outgoing connections.

    They start at a chance number, so that tests that run side by side do not meet.
    """
    found: list[int] = []
    first = secrets.randbelow(len(_PORTS))
    for port in itertools.islice(itertools.cycle(_PORTS), first, first + len(_PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports in {_PORTS}")


@cache
def hash_of(password: str = PASSWORD) -> str:
    """Return a hash that Dovecot made itself, at the least cost it allows."""
    command = ["doveadm", "pw", "-s", "SHA512-CRYPT", "-r", "1000", "-p", password]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def mailbox(
    name: str,
    domain: str = "example.com",
    password: str = PASSWORD,
    mailbox_id: str = "",
    **fields: Any,
) -> Mailbox:
    """Return a mailbox record with an id of its own; `fields` are the record's others."""
    fields = {"quota_bytes": 10_000_000, **fields}
    return Mailbox(name, domain, mailbox_id or uuid.uuid4().hex, hash_of(password), **fields)


def message(
    subject: str = "hello", text: str = "hello, world", sender: str = "friend@outside.test"
) -> bytes:
    """Return a small message."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = "you@example.com"
    mail["Subject"] = subject
    mail.set_content(text)
    return mail.as_bytes()


def noon() -> str:
    """Return a time zone whose midnight is far away, so that no test counts over two days."""
    ahead = 12 - datetime.now(UTC).hour
    # POSIX's sign: Etc/GMT-9 is Tokyo's.
    return f"Etc/GMT{-ahead:+}"


def wait_for(look: Callable[[], T], seconds: float = 10.0) -> T:
    """Return the first true value of `look`, or its last one when time is up."""
    end = time.monotonic() + seconds
    while not (value := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


@dataclass  # no slots: Python 3.11.2 cannot list the members of such an object, as aiosmtpd does
class Sink:
    """An SMTP server that keeps what it gets: the outside world."""

    port: int
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep one message."""
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append((envelope.mail_from or "", list(envelope.rcpt_tos), content))
        return "250 taken"

    def got(self, recipient: str, text: str) -> bool:
        """Wait until a message with `text` in it has come for `recipient`."""
        wanted = text.encode()
        return wait_for(
            lambda: any(recipient in to and wanted in content for _, to, content in self.taken)
        )


@contextmanager
def sink() -> Iterator[Sink]:
    """Run the outside world on a free port."""
    taking = Sink(free_ports(1)[0])
    controller = Controller(taking, hostname="127.0.0.1", port=taking.port)
    controller.start()
    try:
        yield taking
    finally:
        controller.stop()


def _from(source: str, port: int, timeout: float | None) -> socket.socket:
    """Connect to this machine by the protocol of `source`."""
    host = "::1" if ":" in source else "127.0.0.1"
    return socket.create_connection((host, port), timeout, (source, 0))


class _POP3(poplib.POP3):
    """POP3 from an address of the client's choice."""

    def __init__(self, host: str, port: int, source: str) -> None:
        self._source = source
        super().__init__(host, port, timeout=10)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return _from(self._source, self.port, timeout)


class _IMAP4(imaplib.IMAP4):
    """IMAP from an address of the client's choice."""

    def __init__(self, host: str, port: int, source: str) -> None:
        self._source = source
        super().__init__(host, port, timeout=10)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return _from(self._source, self.port, timeout)


class MailServer:
    """A running mail server. `outside` is where its mail for other domains goes."""

    def __init__(self, root: Path, config: HostConfig, outside: Sink) -> None:
        """Name a root that was initialised."""
        self.root = root
        self.config = config
        self.outside = outside
        self.host = Host(root)
        self._runs: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *servers: str) -> None:
        """Start all servers, or those named, and wait until they answer."""
        for server in servers or instance.wanted(self.config):
            command = [sys.executable, "-m", "mailhost", "--root", str(self.root), "run", server]
            self._runs[server] = subprocess.Popen(command, cwd=REPOSITORY)
        for server in servers or instance.wanted(self.config):
            problem = instance.wait_until_answering(self.root, server)
            assert not problem, f"{server} {problem}\n{self.logs()}"

    def kill(self, server: str) -> None:
        """End a server at once (SIGKILL), as a crash would."""
        leader = master(self.host.paths, server)
        assert leader
        os.kill(leader, signal.SIGKILL)
        self._runs.pop(server).wait(30)

    @contextmanager
    def hung(self, server: str) -> Iterator[None]:
        """Let a server do nothing for a while (SIGSTOP), its sockets still open."""
        leader = master(self.host.paths, server)
        assert leader
        os.kill(leader, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(leader, signal.SIGCONT)

    def stop(self, *servers: str) -> None:
        """End all servers, or the one named, with all their processes."""
        for server in servers or tuple(self._runs):
            process = self._runs.pop(server)
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def logs(self) -> str:
        """Return what the servers logged."""
        return "\n".join(text for _, text in self.log_files())

    def log_files(self) -> list[tuple[str, str]]:
        """Return each log's name and text."""
        files = sorted((self.root / "log").iterdir())
        return [(file.name, file.read_text(errors="replace")) for file in files]

    # From outside

    def smtp(self, source: str = "", host: str = "127.0.0.1") -> smtplib.SMTP:
        """Connect as any other mail server would."""
        port, bind = self.config.smtp_port, (source, 0) if source else None
        client = smtplib.SMTP(host, port, "client.outside.test", 30, bind)
        client.ehlo()
        return client

    def rcpt(self, recipient: str) -> tuple[int, str]:
        """Return what Postfix answers to RCPT for this recipient."""
        with self.smtp() as client:
            client.mail("friend@outside.test")
            code, text = client.rcpt(recipient)
            return code, text.decode()

    def deliver(self, *recipients: str, text: str = "hello, world") -> None:
        """Send one message from outside."""
        with self.smtp() as client:
            refused = client.sendmail("friend@outside.test", recipients, message(text=text))
        assert not refused

    def write(self, to: str, sender: str, **headers: str) -> None:
        """Send a message from outside to the address that stands in it, as people do.

        `headers` come besides, or instead; "_" stands for "-". `sender` "<>..." has no envelope's.
        """
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, to, "question"
        for name, value in headers.items():
            del mail[name]
            mail[name.replace("_", "-")] = value
        mail.set_content("How are you?")
        with self.smtp() as client:
            envelope = "" if sender.startswith("<>") else sender
            assert not client.sendmail(envelope, [to], mail.as_bytes())

    # As the holder of a mailbox

    def pop3(self, login: str, password: str = PASSWORD, source: str = "") -> poplib.POP3:
        """Log in by POP3; poplib.error_proto if that is refused."""
        client = _POP3("127.0.0.1", self.config.pop3_port, source)
        try:
            client.user(login)
            client.pass_(password)
        except BaseException:
            client.close()
            raise
        return client

    def imap(self, login: str, password: str = PASSWORD, source: str = "") -> imaplib.IMAP4:
        """Log in by IMAP; imaplib.IMAP4.error if that is refused."""
        client = _IMAP4("127.0.0.1", self.config.imap_port, source)
        try:
            client.login(login, password)
        except BaseException:
            client.shutdown()
            raise
        return client

    def receive(self, login: str, source: str, password: str = PASSWORD) -> None:
        """Look for new mail by POP3, which lets this address send."""
        self.pop3(login, password, source).quit()

    def open_way(self, login: str, source: str) -> None:
        """Look for new mail until this address may send.

        Dovecot does not find a policy daemon at once that was away, or hung, a moment ago.
        """

        def opened() -> bool:
            self.receive(login, source)
            return wait_for(lambda: self._has_way(login, source), 2)

        assert wait_for(opened, 30)

    def _has_way(self, login: str, source: str) -> bool:
        ways = figures.read(self.root).ways
        return any((way.account, way.address) == (login, source) for way in ways)

    def submission(
        self, login: str = "", password: str = PASSWORD, source: str = "", *, tls: str = "starttls"
    ) -> smtplib.SMTP:
        """Connect to send with a password, by "starttls" or "wrapped" TLS, or "" without any.

        Log in, if there is a login; smtplib.SMTPAuthenticationError if that is refused.
        """
        bind = (source, 0) if source else None
        context = ssl._create_unverified_context()  # noqa: S323 (it signed itself)
        client: smtplib.SMTP
        if tls == "wrapped":
            client = smtplib.SMTP_SSL(
                "127.0.0.1",
                self.config.submissions_port,
                "pc.outside.test",
                timeout=30,
                context=context,
                source_address=bind,
            )
        else:
            port = self.config.submission_port
            client = smtplib.SMTP("127.0.0.1", port, "pc.outside.test", 30, bind)
        try:
            if tls == "starttls":
                client.starttls(context=context)
            client.ehlo()
            if login:
                client.login(login, password)
        except BaseException:
            client.close()
            raise
        return client

    def can_log_in(self, login: str, password: str = PASSWORD) -> bool:
        """Say whether POP3 lets this login in."""
        with suppress(poplib.error_proto):
            self.pop3(login, password).quit()
            return True
        return False

    def messages(self, login: str, password: str = PASSWORD) -> list[bytes]:
        """Read all messages by POP3, leaving them there."""
        client = self.pop3(login, password)
        try:
            count = client.stat()[0]
            return [b"\n".join(client.retr(number)[1]) for number in range(1, count + 1)]
        finally:
            client.quit()

    def got(self, login: str, text: str, password: str = PASSWORD) -> bool:
        """Wait until a message with `text` in it is in the mailbox."""
        return wait_for(
            lambda: any(text.encode() in mail for mail in self.messages(login, password))
        )

    def certificate(self, port: int, name: str, *, starttls: bool = False) -> bytes:
        """Return the certificate (DER) shown to a client that asks for `name`."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            if starttls:
                plain.recv(1024)
                for line in (b"EHLO client.outside.test\r\n", b"STARTTLS\r\n"):
                    plain.sendall(line)
                    time.sleep(0.1)
                    plain.recv(4096)
            with context.wrap_socket(plain, server_hostname=name) as secure:
                shown = secure.getpeercert(binary_form=True)
        assert shown
        return shown


@contextmanager
def mail_server(name: str = "", **settings: Any) -> Iterator[MailServer]:
    """Make and run a mail server; `settings` go into its HostConfig.

    With a `name` its root is called so, in a directory of its own, as in MAILHOST_ROOT.
    """
    smtp, submission, submissions, pop3, pop3s, imap, imaps, panel, *others = free_ports(12)
    policy, reply, *webmail = others
    # The servers' users have to get through, which pytest's own directories do not allow.
    made = Path(tempfile.mkdtemp(prefix="mail-", dir="/tmp"))
    root = made / name
    for directory in (made, root):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o711)
    with sink() as outside:
        defaults: dict[str, Any] = {
            "hostname": "mail1.plusmail.test",
            "smtp_port": smtp,
            "submission_port": submission,
            "submissions_port": submissions,
            "policy_port": policy,
            "reply_port": reply,
            "pop3_port": pop3,
            "pop3s_port": pop3s,
            "imap_port": imap,
            "imaps_port": imaps,
            "ftp_port": 0,
            "webmail_port": 0,
            "webmail_imap_port": webmail[0],
            "webmail_submission_port": webmail[1],
            "sftp_port": 0,
            "ssh_port": 0,
            "panel_imap_port": panel,
            "slow_guessing": False,
            "client_names": False,  # no test asks a name server
            "time_zone": noon(),
            "help_url": HELP,
            "outbound": f"smtp:[127.0.0.1]:{outside.port}",
        }
        server = MailServer(root, HostConfig(**(defaults | settings)), outside)
        try:
            instance.init(root, server.config)
            server.start()
            running.append(server)
            yield server
        finally:
            if server in running:
                running.remove(server)
            server.stop()
            server.host.close()
            shutil.rmtree(made, ignore_errors=True)
