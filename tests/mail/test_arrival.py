"""A mail program that sends at once when it has logged in, on real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

import pytest

from mailhost.instance import missing_programs
from mailhost.paths import Paths
from mailhost.policy import figures
from tests.conftest import tell
from tests.mail.conftest import Site, new_site
from tests.mail.posting import command, offer
from tests.servers import MailServer, free_ports, mail_server

pytestmark = pytest.mark.servers

FRIEND = "friend@outside.test"
LATE = 0.4


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A server whose Dovecot asks at once and tells late."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server() as running, telling_late(running):
        yield running


@pytest.fixture
def site(server: MailServer) -> Site:
    return new_site(server)


@contextmanager
def telling_late(server: MailServer) -> Iterator[None]:
    """Hold back what Dovecot tells the policy daemon of a login, by a go-between."""
    port, loop = free_ports(1)[0], asyncio.new_event_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", server.config.policy_port)
        back = loop.create_task(_copy(there[0], writer))
        while data := await reader.read(65536):
            if b"command=report" in data:
                await asyncio.sleep(LATE)
            there[1].write(data)
        there[1].close()
        await back

    listening = loop.run_until_complete(asyncio.start_server(talk, "127.0.0.1", port))
    thread = Thread(target=loop.run_forever)
    thread.start()
    conf = Paths(server.root).dovecot_conf
    text = conf.read_text()
    asked = f"http://127.0.0.1:{server.config.policy_port}/"
    assert asked in text
    server.stop("dovecot")
    conf.write_text(text.replace(asked, f"http://127.0.0.1:{port}/"))
    server.start("dovecot")
    try:
        yield
    finally:
        server.stop("dovecot")
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_who_sends_at_once_after_his_login_is_let_through(site: Site, protocol: str) -> None:
    source = "127.0.9.1" if protocol == "pop3" else "127.0.9.2"
    with site.server.smtp(source) as client:
        client.mail(site.fixed.address)
        session = getattr(site.server, protocol)(site.fixed.name, source=source)
        begin = time.monotonic()
        code, words = client.rcpt(FRIEND)
        took = time.monotonic() - begin
        assert code == 250, words
        assert LATE / 2 < took < 1
        # Strangers, and mail for mailboxes here, wait for nobody.
        with site.server.smtp("127.0.9.9") as stranger:
            begin = time.monotonic()
            assert offer(stranger, site.fixed.address, FRIEND)[0].refuses(550, "5.7.1", "Receive")
            command(stranger, "RSET")
            assert offer(stranger, FRIEND, site.fixed.address)[0].ok
            assert time.monotonic() - begin < LATE / 2
        session.quit() if protocol == "pop3" else session.logout()


def test_wrong_password_lets_nobody_send(site: Site) -> None:
    with site.server.smtp("127.0.9.3") as client:
        assert not site.server.can_log_in(site.fixed.name, "wrong")
        assert offer(client, site.fixed.address, FRIEND)[0].refuses(550, "5.7.1", "Receive")


def test_how_late_dovecot_tells() -> None:
    """Without the go-between: the time between the login's answer and the open way."""
    if problem := missing_programs():
        pytest.skip(problem)
    late = []
    with mail_server() as server:
        site = new_site(server)
        for n in range(20):
            source = f"127.0.10.{n + 1}"
            with closing(server.pop3(site.fixed.name, source=source)):
                begin = time.monotonic()
                while source not in {way.address for way in figures.read(server.root).ways}:
                    assert time.monotonic() < begin + 5
                late.append(time.monotonic() - begin)
    tell(f"told {min(late) * 1000:.1f} to {max(late) * 1000:.1f} ms after the login's answer")
    assert sorted(late)[len(late) // 2] < 0.5
