"""How long a login lets its address send, where it does not, and that IPv6 has all of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from mailhost.instance import missing_programs
from tests.mail.conftest import Site, new_site
from tests.mail.posting import command, offer, people, post, reached, refusals
from tests.servers import MailServer, mail_server, wait_for

pytestmark = pytest.mark.servers

CLOSED = "127.0.5.9"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A server where a login counts for a minute, and from some addresses never."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(window_minutes=1, no_window_networks="127.0.5.0/28,2001:db8::/32") as running:
        yield running


@pytest.fixture
def site(server: MailServer) -> Site:
    return new_site(server)


def may_send(site: Site, source: str) -> bool:
    with site.server.smtp(source) as client:
        answer = offer(client, site.fixed.address, "friend@outside.test")[0]
        command(client, "RSET")
    return answer.ok


def test_login_counts_for_a_minute_a_second_one_longer_and_an_open_session_all_the_time(
    site: Site,
) -> None:
    server, other, held = site.server, new_site(site.server), new_site(site.server)
    once, twice, staying = "127.0.0.30", "127.0.0.31", "127.0.0.32"
    session = server.imap(held.fixed.name, source=staying)
    server.receive(site.fixed.name, once)
    server.receive(other.fixed.name, twice)
    began = time.monotonic()
    time.sleep(35)
    server.receive(other.fixed.name, twice)
    assert may_send(site, once)
    while may_send(site, once) and time.monotonic() - began < 75:
        time.sleep(0.5)
    assert 50 < time.monotonic() - began < 70
    assert may_send(other, twice)
    # Its own minute is over; the daemon looks for open sessions once a minute.
    assert wait_for(lambda: may_send(held, staying))
    session.noop()
    session.logout()


def test_where_many_strangers_share_an_address_no_login_opens_it(site: Site) -> None:
    site.server.receive(site.fixed.name, CLOSED)
    with site.server.smtp(CLOSED) as client:
        answer = offer(client, site.fixed.address, "friend@outside.test")[0]
        assert answer.refuses(550, "5.7.1", "Send with your password")
    with site.server.submission(site.fixed.name, source=CLOSED) as client:
        assert post(client, site.fixed.address, "friend@outside.test")[-1].ok


def test_server_can_switch_it_off() -> None:
    with mail_server(pop_before_smtp=False) as server:
        site = new_site(server)
        server.receive(site.fixed.name, "127.0.0.40")
        assert not may_send(site, "127.0.0.40")
        with server.submission(site.fixed.name, source="127.0.0.40") as client:
            assert post(client, site.fixed.address, "friend@outside.test")[-1].ok


def test_ipv6_opens_the_way_and_no_form_of_it_opens_a_relay() -> None:
    if not _ipv6():
        pytest.skip("no IPv6 on this machine")
    with mail_server(smtp_listen="*", login_listen="*") as server:
        site = new_site(server)
        forms = ["v@victim.test", "v@[IPv6:::1]", "v@[IPv6:2001:db8::1]", "v%victim.test@[::1]"]
        for form in (*forms, f"v%victim.test@{site.domain}", f"@{site.domain}:v@victim.test"):
            with server.smtp(host="::1") as client:
                for sender in (site.fixed.address, "", "friend@outside.test"):
                    assert offer(client, sender, form)[0].code != 250
                    command(client, "RSET")
        server.receive(site.fixed.name, "::1")
        with server.smtp(host="::1") as client:
            assert not refusals(post(client, site.fixed.address, *people(3)))
        # The same machine's other protocol is another address.
        assert not may_send(site, "127.0.0.1")
        assert reached(server, site.fixed.address, 3)


def _ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
