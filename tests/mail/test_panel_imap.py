"""The panel's own way to all mail: on its listener only, opening nothing, and told to nobody."""

from __future__ import annotations

import base64
import imaplib
import poplib
import smtplib
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.instance import missing_programs
from mailhost.panel_imap import Door, DoorError, read_door
from tests.mail.conftest import Site
from tests.servers import PASSWORD, MailServer, free_ports, mail_server, wait_for

pytestmark = pytest.mark.servers

REFUSED = (smtplib.SMTPAuthenticationError, smtplib.SMTPServerDisconnected)


@pytest.fixture
def door(server: MailServer) -> Door:
    """How the panel gets in."""
    return read_door(server.host.paths.panel_imap)


def imap(port: int, login: str, password: str) -> imaplib.IMAP4:
    """Log in by IMAP; imaplib.IMAP4.error if that is refused."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=10)
    try:
        client.login(login, password)
    except BaseException:
        client.shutdown()
        raise
    return client


def test_panel_gets_at_any_account_by_its_listener(site: Site, door: Door) -> None:
    site.server.deliver(site.fixed.address, text="for the panel too")
    assert site.server.got(site.fixed.name, "for the panel too")
    client = imap(door.port, door.login_as(site.fixed.name), door.secret)
    assert client.select(readonly=True)[1] == [b"1"]
    client.logout()


def test_master_login_is_impossible_on_every_listener_of_customers(site: Site, door: Door) -> None:
    config, login = site.server.config, door.login_as(site.fixed.name)
    names = [login, f"{login}/imap/{door.port}", f"{site.fixed.name}*panel/imap/{config.imap_port}"]
    for name in names:
        with pytest.raises(imaplib.IMAP4.error):
            imap(config.imap_port, name, door.secret)
        with pytest.raises(poplib.error_proto):
            site.server.pop3(name, door.secret)
        for tls in ("starttls", "wrapped"):
            with pytest.raises(REFUSED):
                site.server.submission(name, door.secret, tls=tls)


@pytest.mark.parametrize("wrapped", [False, True])
def test_nor_by_naming_two_users_in_sasl(site: Site, door: Door, wrapped: bool) -> None:
    """SASL PLAIN can ask for another identity (RFC 4616)."""
    config = site.server.config
    plain = f"{site.fixed.name}\0{door.login}\0{door.secret}".encode()
    context = ssl._create_unverified_context()  # noqa: S323 (it signed itself)
    client: imaplib.IMAP4
    pop: poplib.POP3
    if wrapped:
        client = imaplib.IMAP4_SSL("127.0.0.1", config.imaps_port, ssl_context=context, timeout=10)
        pop = poplib.POP3_SSL("127.0.0.1", config.pop3s_port, context=context, timeout=10)
    else:
        client = imaplib.IMAP4("127.0.0.1", config.imap_port, timeout=10)
        pop = poplib.POP3("127.0.0.1", config.pop3_port, timeout=10)
    with pytest.raises(imaplib.IMAP4.error):
        client.authenticate("PLAIN", lambda _challenge: plain)
    client.shutdown()
    with pytest.raises(poplib.error_proto):
        pop._shortcmd(f"AUTH PLAIN {base64.b64encode(plain).decode()}")  # type: ignore[attr-defined]
    pop.close()


def test_wrong_secret_and_unknown_account_are_refused(site: Site, door: Door) -> None:
    for login, secret in (
        (door.login_as(site.fixed.name), PASSWORD),
        (door.login_as(site.fixed.name), ""),
        (door.login_as("no-such-account"), door.secret),
        (f"{site.fixed.name}*root", door.secret),
        (door.login, door.secret),
    ):
        with pytest.raises(imaplib.IMAP4.error):
            imap(door.port, login, secret)


def test_login_on_the_panels_listener_lets_nobody_send(site: Site, door: Door) -> None:
    for login, secret in (
        (door.login_as(site.fixed.name), door.secret),
        (site.fixed.name, PASSWORD),
    ):
        imap(door.port, login, secret).logout()
    # The daemon hears of logins one after the other: this one shows that those came before.
    site.server.imap(site.fixed.name, source="127.0.0.9").logout()
    assert wait_for(lambda: may_send(site, "127.0.0.9"))
    assert not may_send(site, "127.0.0.1")


def may_send(site: Site, source: str) -> bool:
    with site.server.smtp(source) as client:
        client.mail(site.fixed.address)
        return client.rcpt("friend@outside.test")[0] == 250


def test_secret_is_roots_alone_and_stands_in_no_log(site: Site, door: Door) -> None:
    paths = site.server.host.paths
    assert stat.S_IMODE(paths.panel_imap.stat().st_mode) == 0o600
    assert paths.panel_imap.stat().st_uid == 0
    masters = paths.dovecot / "masters"
    assert stat.S_IMODE(masters.stat().st_mode) == 0o640
    assert door.secret not in masters.read_text()
    imap(door.port, door.login_as(site.fixed.name), door.secret).logout()
    assert door.secret not in site.server.logs()


def test_init_again_keeps_the_secret_and_follows_the_port(server: MailServer, door: Door) -> None:
    paths, [port] = server.host.paths, free_ports(1)
    moved = replace(server.config, panel_imap_port=port)
    instance.init(server.root, moved)
    try:
        assert read_door(paths.panel_imap) == replace(door, port=port)
        assert f"panel/imap/{port}:" in (paths.dovecot / "masters").read_text()
        instance.init(server.root, replace(moved, panel_imap_port=0))
        assert "panel/" not in (paths.dovecot / "masters").read_text()
        assert "inet_listener panel" not in paths.dovecot_conf.read_text()
    finally:
        instance.init(server.root, server.config)
    assert read_door(paths.panel_imap) == door


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "[]",
        lambda text: "[1]",
        lambda text: text.replace('"port"', '"haven"'),
        lambda text: text.replace('"tls": false', '"tls": 0'),
    ],
    ids=["empty", "list", "longer list", "other name", "other type"],
)
def test_file_that_is_no_door_is_said(
    server: MailServer, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(spoil(server.host.paths.panel_imap.read_text()))
    with pytest.raises(DoorError, match=r"copy\.json is no"):
        read_door(copy)
    with pytest.raises(DoorError, match="cannot be read"):
        read_door(tmp_path / "none.json")


def test_elsewhere_than_on_this_machine_it_speaks_tls_with_a_certificate_to_trust() -> None:
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(panel_imap_listen="0.0.0.0") as server:
        door = read_door(server.host.paths.panel_imap)
        assert (door.tls, door.host) == (True, server.config.hostname)
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=door.certificate)
        with (
            socket.create_connection(("127.0.0.1", door.port), 10) as plain,
            context.wrap_socket(plain, server_hostname=door.host) as secure,
        ):
            assert secure.recv(1024).startswith(b"* OK")
