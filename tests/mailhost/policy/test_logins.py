"""A real Dovecot and the policy daemon: what logins open, and what guessing brings."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from mailhost import instance
from mailhost.paths import Paths
from mailhost.policy import figures
from mailhost.policy.throttle import PLACE
from mailhost.records import Address, Entry, HostedDomain, Record
from tests.servers import (
    PASSWORD,
    MailServer,
    free_ports,
    hash_of,
    mail_server,
    mailbox,
    message,
    wait_for,
)

pytestmark = pytest.mark.servers

ANNA, BERT = mailbox("anna"), mailbox("bert")
INFO = Address("info", "example.com", (ANNA.address,))
MASTER = "staff"
#: Seconds that nobody minds who waits for his mail; the daemon that hangs costs one.
PATIENT = 9


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A server with two accounts, a master user, and a listener of the service's own."""
    if problem := instance.missing_programs():
        pytest.skip(problem)
    with mail_server(slow_guessing=True) as running:
        with running.host.lock():
            domain = HostedDomain("example.com", ANNA.address)
            records: list[Record] = [domain, ANNA, BERT, INFO]
            running.host.apply([Entry(r.key, n, r) for n, r in enumerate(records, 1)])
        running.stop("dovecot")
        with_staff(running)
        running.start("dovecot")
        yield running


def with_staff(server: MailServer) -> None:
    """Let the service log in as anybody, on a port of its own."""
    paths = Paths(server.root)
    users = paths.dovecot / "staff"
    users.write_text(f"{MASTER}:{hash_of('staff-password')}\n")
    text = paths.dovecot_conf.read_text()
    passdb = f"passdb {{\n  driver = passwd-file\n  master = yes\n  args = {users}\n}}\n"
    listener = (
        f"service imap-login {{\n  inet_listener staff {{\n    port = {staff_port()}\n  }}\n}}\n"
    )
    before, sql, after = text.partition("passdb {\n  driver = sql")
    paths.dovecot_conf.write_text(
        f"{before}{passdb}{sql}{after}\nauth_master_user_separator = *\n{listener}"
    )


def staff_port(ports: list[int] = []) -> int:  # noqa: B006 (found once)
    if not ports:
        ports += free_ports(1)
    return ports[0]


def staff(login: str, password: str, source: str) -> None:
    """Log in by the service's own listener."""
    client = imaplib.IMAP4("127.0.0.1", staff_port(), timeout=10)
    with suppress(imaplib.IMAP4.error):
        client.login(login, password)
    client.shutdown()


def ways(server: MailServer) -> dict[str, str]:
    """Return what is open: accounts and ways by address."""
    return {way.address: f"{way.account} {way.way}" for way in figures.read(server.root).ways}


def await_way(server: MailServer, address: str) -> None:
    """Wait until a login from there is known: Dovecot lets the customer in before it tells."""
    wait_for(lambda: address in ways(server))


def enter(
    server: MailServer, protocol: str, login: str, source: str, password: str = PASSWORD
) -> str:
    """Log in and out by pop3, imap or submission; return what it is refused with, or ""."""
    try:
        client = getattr(server, protocol)(login, password, source)
    except (poplib.error_proto, imaplib.IMAP4.error, smtplib.SMTPAuthenticationError) as error:
        return str(error)
    (client.shutdown if protocol == "imap" else client.close)()
    return ""


def test_only_a_customers_own_login_by_pop_or_imap_opens_the_way(server: MailServer) -> None:
    assert not enter(server, "pop3", "anna", "127.0.1.1")
    assert not enter(server, "imap", "ANNA@Example.com", "127.0.1.2")
    assert not enter(server, "pop3", "info@example.com", "127.0.1.3")
    assert enter(server, "pop3", "anna", "127.0.1.4", "wrong")
    assert enter(server, "imap", "nobody", "127.0.1.5")
    assert not enter(server, "submission", "anna", "127.0.1.6")
    assert not enter(server, "imap", f"anna*{MASTER}", "127.0.1.7", "staff-password")
    assert not enter(server, "pop3", f"anna*{MASTER}", "127.0.1.8", "staff-password")
    staff("anna", PASSWORD, "127.0.0.1")
    staff(f"anna*{MASTER}", "staff-password", "127.0.0.1")
    found = {address: way for address, way in ways(server).items() if "127.0.1." in address}
    assert found == {"127.0.1.1": "anna pop3", "127.0.1.2": "anna imap", "127.0.1.3": "anna pop3"}
    assert "127.0.0.1" not in ways(server)


def test_restarted_and_killed_the_daemon_knows_the_open_ways(server: MailServer) -> None:
    assert not enter(server, "pop3", "bert", "127.0.2.1")
    await_way(server, "127.0.2.1")
    server.kill("policy")
    # Without it nobody is kept from his mail.
    begin = time.monotonic()
    assert not enter(server, "pop3", "bert", "127.0.2.2")
    assert time.monotonic() - begin < PATIENT
    server.start("policy")
    server.open_way("bert", "127.0.2.3")
    open_now = ways(server)
    assert open_now["127.0.2.1"] == open_now["127.0.2.3"] == "bert pop3"
    assert "127.0.2.2" not in open_now


def test_hung_daemon_costs_a_login_a_second(server: MailServer) -> None:
    with server.hung("policy"):
        for protocol in ("pop3", "imap", "submission"):
            begin = time.monotonic()
            assert not enter(server, protocol, "bert", "127.0.3.1")
            assert time.monotonic() - begin < PATIENT
    server.open_way("bert", "127.0.3.2")


@pytest.mark.parametrize("protocol", ["pop3", "imap", "submission"])
def test_guessing_is_refused_and_the_owner_is_not(server: MailServer, protocol: str) -> None:
    protocols = ["pop3", "imap", "submission"]
    home, attacker = (f"127.0.{n}.{protocols.index(protocol) + 1}" for n in (4, 5))
    assert not enter(server, "pop3", "anna", home)
    words = [f"wrong-{n}" for n in range(PLACE.refuse)]
    with ThreadPoolExecutor(len(words)) as pool:
        guesses = [pool.submit(enter, server, protocol, "anna", attacker, word) for word in words]
        assert all(guess.result() for guess in guesses)
    # On a busy machine Dovecot waits in vain for the daemon now and then, and tells it nothing.
    more = (enter(server, protocol, "anna", attacker, f"more-{n}") for n in range(PLACE.refuse))
    assert any("too many wrong passwords" in told for told in more)
    told = enter(server, protocol, "anna", attacker)
    assert "too many wrong passwords" in told
    assert server.config.help_url in told
    assert "too many" in enter(server, "pop3", "bert", attacker)
    for other in protocols:
        assert not enter(server, other, "anna", home)
    places = {place.network for place in figures.refused_places(server.root)}
    assert attacker in places
    assert home not in places
    assert figures.lift(server.root, address=attacker, wait=10)
    assert not enter(server, protocol, "anna", attacker)
    assert figures.lift(server.root, "anna", wait=10)


def test_figures_tell_what_was_sent_and_refused(server: MailServer) -> None:
    server.receive("anna", "127.0.7.1")
    before = figures.read(server.root)
    friends = ["a@outside.test", "b@outside.test"]
    with server.smtp(source="127.0.7.1") as client:
        assert client.sendmail(ANNA.address, friends, message()) == {}
    with server.submission("anna", source="127.0.7.2") as client:
        assert client.sendmail(ANNA.address, friends[:1], message()) == {}
        client.mail("forged@outside.test")
        code, _ = client.rcpt(friends[0])
        assert code == 550
    after = figures.read(server.root, before.cursor)
    sent = {(s.account, s.domain, s.address, s.way): s.recipients for s in after.sent}
    assert sent == {
        ("anna", "example.com", "127.0.7.1", "login"): 2,
        ("anna", "example.com", "127.0.7.2", "auth"): 1,
    }
    assert {(r.account, r.reason, r.recipient) for r in after.refusals} == {
        ("anna", "sender", friends[0])
    }
    again = figures.read(server.root, after.cursor)
    assert (again.sent, again.refusals) == ([], [])


def test_no_password_and_no_secret_is_logged_or_kept(server: MailServer) -> None:
    assert enter(server, "pop3", "anna", "127.0.6.1", "a-secret-mistake")
    key = Paths(server.root).policy_key.read_text().strip().encode()
    for directory in (Paths(server.root).policy, Paths(server.root).log):
        for file in directory.iterdir():
            content = file.read_bytes()
            assert b"a-secret-mistake" not in content
            assert key not in content
