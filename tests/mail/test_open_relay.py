"""A stranger gets no message out, whatever he writes; nor does a neighbour of a customer's.

Each form is tried on the port for other servers, once from an address nobody has logged in
from and once from one where a customer has just received his mail (an office with several
computers behind one address). What is accepted may only end in mailboxes here.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mail.conftest import Site, new_site
from tests.servers import PASSWORD, MailServer, wait_for

pytestmark = pytest.mark.servers

STRANGER, OFFICE = "127.0.0.66", "127.0.0.67"

# {x} is a foreign domain, {d} a hosted one with the mailbox {u}, {h} the server's own name.
RECIPIENTS = r"""
<v@{x}>
v@{x}
<V@{X}>
<v@{x}.>
<v@{x}..>
<v@[127.0.0.1]>
<v@[IPv6:::1]>
<v@[198.51.100.7]>
<v@198.51.100.7>
<v@#3325256711>
<v@localhost>
<v%{x}@{d}>
<v%{x}@{h}>
<v%{x}@[127.0.0.1]>
<v%{x}@localhost>
<v%{x}>
v%{x}@{d}
<v%{x}%{d}@{h}>
<v%{x}%{d}@{d}>
<u%v@{x}@{d}>
<v%{x}@>
<{x}!v>
<{x}!v@{d}>
<{x}!v@{h}>
<{d}!{x}!v>
<{h}!{x}!v@{h}>
<@{d}:{x}!v>
<{x}!v@[127.0.0.1]>
<{d}!v@{x}>
<"v@{x}">
<"v@{x}"@{d}>
<"v@{x}"@{h}>
<"v%{x}"@{d}>
<"{x}!v"@{d}>
<"v"@{x}>
<"v"@{x}@{d}>
<"v\\@{x}"@{d}>
<v\\@{x}@{d}>
<"v@{x}@{d}>
<v@{x}"@{d}>
<""v@{x}>
<"v@{x}, {u}"@{d}>
<"<v@{x}>"@{d}>
<@{d}:v@{x}>
<@{h}:v@{x}>
<@{d},@{h}:v@{x}>
<@[127.0.0.1]:v@{x}>
<@{x}:{u}@{d}@{x}>
<@{d}:v%{x}@{h}>
<@{d}:@{h}:v@{x}>
<@{x},@{d}:v@{x}>
<@:v@{x}>
<v@{x}@{d}>
<v@{x}@{h}>
<{u}@{d}@{x}>
<v@{x}@>
<@v@{x}>
<v@@{x}>
<v @{x}>
<v@ {x}>
<<v@{x}>>
<{u}@{d}><v@{x}>
<{u}@{d}> <v@{x}>
<{u}@{d}>,<v@{x}>
{u}@{d},v@{x}
<{u}@{d},v@{x}>
<{u}@{d};v@{x}>
<{u}@{d} v@{x}>
<{u}@{d}:v@{x}>
friends:<v@{x}>;
<friends:v@{x};>
<v@{x}> NOTIFY=SUCCESS
<v@{x}> ORCPT=rfc822;{u}@{d}
<{u}@{d}> NOTIFY=SUCCESS ORCPT=rfc822;v@{x}
<{u}@{d}> RCPT TO:<v@{x}>
<v@{x}(@{d})>
<(@{d})v@{x}>
<v(@{d})@{x}>
<v@({d}){x}>
<{u}@{d}(@{x})>
<v@{x}((nested (@{d})))>
<v@{x}(
<v+{u}@{x}>
<{u}+v={x}@{d}>
<v={x}@{d}>
<v@{x}@{d}@{h}>
<|/bin/mail v@{x}>
<"|/bin/mail v@{x}"@{d}>
</tmp/v@{x}>
<:include:/tmp/v@{d}>
<v@{x}\0@{d}>
<v@{x}\t@{d}>
<v@{x}\x0b>
<v@{x}\x7f@{d}>
<v@{x}\r@{d}>
<v\xe9@{x}>
<v@{x}\xff@{d}>
<v@m\xc3\xbcller.{x}>
<v@m\xc3\xbcller.{x}> SMTPUTF8
<v\xef\xbc\x85{x}@{d}>
<v\xef\xbc\xa0{x}>
<v@{x}\xe3\x80\x82>
"""
LONG = {
    "long local part": b"<" + b"v" * 300 + b"@victim.test>",
    "long quoted local part": b'<"' + b"v@victim.test " * 60 + b'"@victim.test>',
    "long domain": b"<v@" + b"a." * 200 + b"victim.test>",
    "longest line": b"<v@victim.test" + b" " * 2040 + b">",
    "longer than a line": b"<" + b"v" * 5000 + b"@victim.test>",
    "long route": b"<" + b"@a.test," * 150 + b"@a.test:v@victim.test>",
}

SENDERS = """
<>
< >
<{u}@{d}>
<{U}@{D}>
{u}@{d}
<nobody@{d}>
<postmaster@{d}>
<postmaster@{h}>
<postmaster>
<double-bounce@{h}>
<root@localhost>
<root>
<v@{x}>
<"{u}@{d}"@{x}>
<@{d}:v@{x}>
<{u}%{d}@{x}>
<{u}@{d}> AUTH=<{u}@{d}>
<{u}@{d}> AUTH={u}
<{u}@{d}> SIZE=1
<{u}@{d}> BODY=8BITMIME
<{u}@{d}> SMTPUTF8
<{u}@{d}> RET=FULL ENVID=1
<{u}@[127.0.0.1]>
"""

BEFORE = """
HELO {d}
HELO localhost
HELO {h}
HELO [127.0.0.1]
EHLO [IPv6:::1]
XCLIENT ADDR=127.0.0.1 NAME=localhost
XCLIENT LOGIN={u}
XFORWARD ADDR=127.0.0.1
AUTH PLAIN {plain}
AUTH LOGIN
AUTH EXTERNAL =
ETRN {x}
TURN
VRFY v@{x}
EXPN v@{x}
SEND FROM:<{u}@{d}>
SAML FROM:<{u}@{d}>
SOML FROM:<{u}@{d}>
NOOP v@{x}
RSET
"""

HEADERS = ["To", "Cc", "Bcc", "Resent-To", "Resent-Bcc", "Apparently-To", "X-Envelope-To"]
RECEIPTS = ["Return-Receipt-To", "Disposition-Notification-To", "Errors-To", "Return-Path"]
# What some servers take for the end of a message, and others for two characters of it.
ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\x85.\x85",
]


@pytest.fixture(scope="module")
def site(server: MailServer) -> Site:
    """A domain whose customer has received his mail in the office a moment ago."""
    made = new_site(server)
    server.receive(made.fixed.name, OFFICE)
    return made


def filled(site: Site, form: str) -> bytes:
    """Return a form with its fields filled in; \\x41 and the like stand for bytes."""
    user, host = site.fixed.name, site.server.config.hostname
    names = {"x": "victim.test", "d": site.domain, "u": user, "h": host}
    names |= {name.upper(): value.upper() for name, value in names.items()}
    names["plain"] = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
    text = form.encode("ascii").decode("unicode_escape")
    return text.format(**names).encode("latin-1")


class Raw:
    """An SMTP connection that says whatever bytes it is given."""

    def __init__(self, port: int, source: str, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), 30, (source, 0))
        self._file = self._socket.makefile("rb")
        self.reply()

    def starttls(self) -> None:
        context = ssl._create_unverified_context()  # noqa: S323 (it signed itself)
        self._file.close()
        self._socket = context.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self) -> int:
        """Read one reply and return its code; 0 when the server has gone."""
        while True:
            try:
                line = self._file.readline()
            except ConnectionError:
                return 0
            if len(line) < 4:
                return 0
            if line[3:4] != b"-":
                return int(line[:3])

    def say(self, line: bytes) -> int:
        try:
            self.send(line + b"\r\n")
        except ConnectionError:
            return 0
        return self.reply()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture(params=[STRANGER, OFFICE], ids=["stranger", "neighbour"])
def client(request: pytest.FixtureRequest, site: Site) -> Iterator[Raw]:
    """A connection from an address with no customer, or one with a customer behind it too."""
    raw = Raw(site.server.config.smtp_port, request.param)
    with closing(raw):
        yield raw


def attempt(client: Raw, sender: bytes, recipient: bytes, text: bytes = b"Hello.") -> int:
    """Send a message as far as it gets; return the answer to RCPT."""
    client.say(b"EHLO client.outside.test")
    client.say(b"MAIL FROM:" + sender)
    code = client.say(b"RCPT TO:" + recipient)
    if client.say(b"DATA") == 354:
        client.say(b"Subject: relayed\r\n\r\n" + text + b"\r\n.")
    return code


def nothing_out(site: Site) -> bool:
    """Wait until the queue is empty, and say whether nothing reached the victim."""
    queue = site.server.root / "queue"
    names = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
    assert wait_for(lambda: not any(_files(queue / name) for name in names), 30)
    return not any(
        any("victim" in recipient.lower() for recipient in recipients) or b"relayed" in content
        for _, recipients, content in site.server.outside.taken
    )


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", RECIPIENTS.split("\n")[1:-1])
def test_no_way_to_write_a_recipient_gets_out(site: Site, client: Raw, form: str) -> None:
    recipient = filled(site, form)
    code = attempt(client, b"<friend@outside.test>", recipient)
    assert code != 250 or site.domain.encode() in recipient
    assert nothing_out(site)


@pytest.mark.parametrize("form", LONG)
def test_no_long_recipient_gets_out(site: Site, client: Raw, form: str) -> None:
    assert attempt(client, b"<friend@outside.test>", LONG[form]) != 250
    assert nothing_out(site)


@pytest.mark.parametrize("form", SENDERS.split("\n")[1:-1])
def test_no_way_to_write_a_sender_gets_a_stranger_out(site: Site, form: str) -> None:
    with closing(Raw(site.server.config.smtp_port, STRANGER)) as client:
        assert attempt(client, filled(site, form), b"<v@victim.test>") != 250
    assert nothing_out(site)


@pytest.mark.parametrize("form", BEFORE.split("\n")[1:-1])
def test_nothing_said_before_gets_a_stranger_out(site: Site, form: str) -> None:
    with closing(Raw(site.server.config.smtp_port, STRANGER)) as client:
        client.say(b"EHLO client.outside.test")
        if client.say(filled(site, form)) == 334:
            client.say(base64.b64encode(site.fixed.name.encode()))
            client.say(base64.b64encode(PASSWORD.encode()))
        client.say(b"MAIL FROM:<" + site.fixed.address.encode() + b">")
        assert client.say(b"RCPT TO:<v@victim.test>") != 250
        assert client.say(b"DATA") != 354
    assert nothing_out(site)


def test_pipelining_gets_nothing_out(site: Site, client: Raw) -> None:
    client.say(b"EHLO client.outside.test")
    own = site.fixed.address.encode()
    client.send(
        b"MAIL FROM:<friend@outside.test>\r\nRCPT TO:<" + own + b">\r\n"
        b"RCPT TO:<v@victim.test>\r\nDATA\r\n"
    )
    assert [client.reply() for _ in range(4)] == [250, 250, 550, 354]
    client.send(b"Subject: relayed\r\n\r\nHello.\r\n.\r\nRSET\r\n")
    assert [client.reply() for _ in range(2)] == [250, 250]
    assert nothing_out(site)


def test_bdat_gets_nothing_out(site: Site, client: Raw) -> None:
    client.say(b"EHLO client.outside.test")
    client.say(b"MAIL FROM:<friend@outside.test>")
    assert client.say(b"RCPT TO:<v@victim.test>") == 550
    assert client.say(b"BDAT 18 LAST\r\nSubject: relayed\r\n") != 250
    assert nothing_out(site)


@pytest.mark.parametrize("name", [*HEADERS, *RECEIPTS])
def test_no_header_gets_a_message_out(site: Site, client: Raw, name: str) -> None:
    client.say(b"EHLO client.outside.test")
    client.say(b"MAIL FROM:<friend@outside.test>")
    assert client.say(f"RCPT TO:<{site.fixed.address}>".encode()) == 250
    assert client.say(b"DATA") == 354
    assert client.say(f"{name}: v@victim.test\r\nSubject: relayed\r\n\r\nHi.\r\n.".encode()) == 250
    assert nothing_out(site)


def test_notice_of_delivery_does_not_reach_a_forged_sender(site: Site, client: Raw) -> None:
    """It would carry the subject of a stranger's choice."""
    client.say(b"EHLO client.outside.test")
    client.say(b"MAIL FROM:<v@victim.test> RET=FULL")
    client.say(b"MAIL FROM:<v@victim.test>")
    own = f"RCPT TO:<{site.fixed.address}>".encode()
    client.say(own + b" NOTIFY=SUCCESS,DELAY,FAILURE")
    client.say(own)
    assert client.say(b"DATA") == 354
    assert client.say(b"Subject: relayed\r\n\r\nHello.\r\n.") == 250
    assert nothing_out(site)


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_second_message_inside_one_stays_inside(server: MailServer, end: bytes) -> None:
    """The smuggled message of CVE-2023-51764, from an address that may send it."""
    site = new_site(server)
    source = "127.0.0.68"
    server.receive(site.fixed.name, source)
    with closing(Raw(server.config.smtp_port, source)) as client:
        client.say(b"EHLO client.outside.test")
        client.say(b"MAIL FROM:<friend@outside.test>")
        own = site.fixed.address.encode()
        assert client.say(b"RCPT TO:<" + own + b">") == 250
        assert client.say(b"DATA") == 354
        smuggled = b"MAIL FROM:<" + own + b">\r\nRCPT TO:<v@victim.test>\r\nDATA\r\n"
        text = b"Subject: first\r\n\r\nHello." + end + smuggled
        assert client.say(text + b"Subject: relayed\r\n\r\nHello.\r\n.") == 250
        # One answer: a second message would have had four more.
        assert client.say(b"NOOP") == 250
        assert client.say(b"QUIT") == 221
    assert nothing_out(site)
    assert server.got(site.fixed.name, "RCPT TO:<v@victim.test>")
    assert len(server.messages(site.fixed.name)) == 1


@pytest.mark.parametrize(
    "said",
    [
        [b"NOOP"],
        [b"AUTH PLAIN {plain}x"],
        [b"AUTH PLAIN ="],
        [b"AUTH PLAIN", b"*"],
        [b"AUTH LOGIN", b"*"],
        [b"AUTH ANONYMOUS dHJhY2U="],
        [b"AUTH EXTERNAL ="],
        [b"AUTH PLAIN AHNpdGUxAHdyb25n"],
        [b"XCLIENT LOGIN=site1"],
        [b"MAIL FROM:<> AUTH=<>"],
    ],
    ids=repr,
)
def test_nobody_sends_on_the_submission_port_without_a_password(
    site: Site, said: list[bytes]
) -> None:
    with closing(Raw(site.server.config.submission_port, OFFICE)) as client:
        client.say(b"EHLO client.outside.test")
        assert client.say(b"MAIL FROM:<" + site.fixed.address.encode() + b">") == 530
        assert client.say(b"STARTTLS") == 220
        client.starttls()
        client.say(b"EHLO client.outside.test")
        for line in said:
            assert client.say(line) != 235
        for sender in (f"<{site.fixed.address}>", "<>", "<friend@outside.test>"):
            assert client.say(f"MAIL FROM:{sender}".encode()) == 530
        for recipient in ("v@victim.test", site.fixed.address):
            assert client.say(f"RCPT TO:<{recipient}>".encode()) != 250
        assert client.say(b"DATA") != 354
    assert nothing_out(site)


def test_commands_before_tls_are_forgotten_after_it(site: Site) -> None:
    """CVE-2011-0411: what came in the same packet as STARTTLS."""
    with closing(Raw(site.server.config.submission_port, OFFICE)) as client:
        client.say(b"EHLO client.outside.test")
        plain = filled(site, "AUTH PLAIN {plain}")
        client.send(b"STARTTLS\r\n" + plain + b"\r\n")
        if client.reply() == 220:
            client.starttls()
            client.say(b"EHLO client.outside.test")
            assert client.say(b"MAIL FROM:<" + site.fixed.address.encode() + b">") == 530
    assert nothing_out(site)
