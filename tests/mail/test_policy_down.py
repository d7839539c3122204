"""What becomes of mail while the policy daemon is dead, or hangs, or is told nonsense."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from mailhost import instance
from mailhost.instance import missing_programs
from mailhost.processes import master
from mailhost.records import AutoReply
from tests.mail.conftest import Site, applied, new_site
from tests.mail.posting import command, finish, offer, people, post, reached, refusals
from tests.servers import MailServer, mail_server, wait_for

pytestmark = pytest.mark.servers

CUSTOMER = "127.0.0.20"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A server of this file's own: others would see the daemon die."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server() as running:
        yield running


def refuses_to_send_for_now(site: Site) -> bool:
    """Say whether a customer gets a try-later on each way of sending, for each recipient."""
    ways = [site.server.smtp(CUSTOMER)]
    ways += [
        site.server.submission(site.fixed.name, source=CUSTOMER, tls=tls)
        for tls in ("starttls", "wrapped")
    ]
    codes = []
    for number, client in enumerate(ways):
        with client:
            codes += [offer(client, site.fixed.address, "friend@outside.test")[0].code]
            if number:
                codes += [command(client, f"RCPT TO:<{site.fixed.address}>").code]
            assert command(client, "DATA").code != 354
    return set(codes) == {451}


def takes_mail_from_outside(site: Site) -> bool:
    with site.server.smtp() as client:
        return all(a.ok for a in post(client, "friend@outside.test", site.fixed.address))


def test_mail_is_kept_while_nobody_can_say_who_hands_over_its_answer(site: Site) -> None:
    fixed = site.fixed
    reply = AutoReply(fixed.name, fixed.domain, fixed.mailbox_id, "Away", "I am away.")
    assert applied(site.put(reply))

    def write(sender: str) -> None:
        content = f"From: {sender}\r\nTo: {fixed.address}\r\n\r\nHow are you?\r\n"
        with site.server.smtp() as client:
            assert not client.sendmail(sender, [fixed.address], content)

    site.server.kill("policy")
    try:
        write("asks@outside.test")
        assert wait_for(lambda: len(site.server.messages(fixed.name)) == 1, 60)
    finally:
        site.server.start("policy")
    assert "Auto-replies are out of service" in site.server.logs()
    write("other@outside.test")
    assert site.server.outside.got("other@outside.test", "I am away.")
    assert not any("asks@outside.test" in to for _, to, _ in site.server.outside.taken)


def test_dead_daemon_opens_nothing_and_mail_comes_in(site: Site) -> None:
    site.server.open_way(site.fixed.name, CUSTOMER)
    site.server.kill("policy")
    try:
        began = time.monotonic()
        assert refuses_to_send_for_now(site)
        assert takes_mail_from_outside(site)
        assert time.monotonic() - began < 20
        # Those who send without a password are told so at once.
        with site.server.submission() as client:
            assert command(client, "MAIL FROM:<friend@outside.test>").code == 530
        # Whoever reads his mail need not care.
        assert site.server.can_log_in(site.fixed.name)
        assert "is not running" in instance.problem_of(site.server.root, "policy")
    finally:
        site.server.start("policy")
    assert reached(site.server, site.fixed.address, 0)


def test_killed_daemon_forgets_no_login_and_no_count(server: MailServer) -> None:
    site = new_site(server, recipients_per_day=6)
    server.open_way(site.fixed.name, CUSTOMER)
    with server.smtp(CUSTOMER) as client:
        assert not refusals(post(client, site.fixed.address, *people(3)))
        server.kill("policy")
        server.start("policy")
        assert not refusals(post(client, site.fixed.address, *people(2)))
        # One in the middle of a message: what was offered stays counted.
        assert offer(client, site.fixed.address, "a@outside.test")[0].ok
        server.kill("policy")
        server.start("policy")
        assert finish(client).ok
        assert offer(client, site.fixed.address, "b@outside.test")[0].code == 550
    assert reached(server, site.fixed.address, 6)


def test_daemon_that_hangs_costs_seconds(site: Site) -> None:
    site.server.open_way(site.fixed.name, CUSTOMER)
    with site.server.hung("policy"):
        began = time.monotonic()
        with site.server.smtp() as client:
            assert offer(client, "friend@outside.test", site.fixed.address)[0].ok
            assert finish(client).ok
        assert time.monotonic() - began < 20
        with site.server.submission(site.fixed.name, source=CUSTOMER) as client:
            began = time.monotonic()
            assert offer(client, site.fixed.address, "friend@outside.test")[0].code == 451
            assert time.monotonic() - began < 10
        with site.server.smtp(CUSTOMER) as client:
            assert offer(client, site.fixed.address, "friend@outside.test")[0].code == 451
        assert "answer" in instance.problem_of(site.server.root, "policy", 0.5)
    assert site.server.got(site.fixed.name, "Hello.")
    with site.server.submission(site.fixed.name, source=CUSTOMER) as client:
        assert post(client, site.fixed.address, "friend@outside.test")[-1].ok
    assert reached(site.server, site.fixed.address, 1)


def test_hung_daemon_can_be_ended(site: Site) -> None:
    with site.server.hung("policy"):
        assert instance.stop(site.server.root, "policy")
        site.server._runs.pop("policy").wait(30)
    site.server.start("policy")
    assert takes_mail_from_outside(site)


def test_nonsense_costs_one_connection(site: Site) -> None:
    chance = random.Random(1)
    before = master(site.server.host.paths, "policy")
    path = str(site.server.host.paths.policy_socket)
    port = ("127.0.0.1", site.server.config.policy_port)
    nonsense = [
        b"\n" * 10_000,
        b"=" * 100_000,
        b"request=smtpd_access_policy\n" * 5_000,
        b"recipient=" + b"a" * 1_000_000,
        b"request=smtpd_access_policy\nrecipient=\xff\xfe\0\n\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 1_000_000,
        b"POST /?command=allow HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n{",
        b"POST /?command=report HTTP/1.1\r\nContent-Length: 5\r\n\r\nnull!",
        *(chance.randbytes(chance.randrange(2000)) for _ in range(200)),
    ]
    with ExitStack() as stack:
        # Some that never say anything stay open meanwhile.
        for _ in range(50):
            slow = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            slow.connect(path)
            slow.sendall(b"request=")
        for data in nonsense:
            for family, where in ((socket.AF_UNIX, path), (socket.AF_INET, port)):
                with socket.socket(family) as connection:
                    connection.settimeout(5)
                    connection.connect(where)
                    try:
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass
                    except OSError:  # Hung up on, at whatever moment.
                        pass
        assert not instance.problem_of(site.server.root, "policy")
        with site.server.submission(site.fixed.name, source=CUSTOMER) as client:
            assert post(client, site.fixed.address, "friend@outside.test")[-1].ok
    assert master(site.server.host.paths, "policy") == before


@pytest.fixture
def site(server: MailServer) -> Site:
    """A new domain on this file's server."""
    return new_site(server)
