"""What mail programs are told leads real clients to the real server, TLS checked as they do."""

from __future__ import annotations

import imaplib
import plistlib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from defusedxml.ElementTree import fromstring
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Domain
from clientsettings import autoconfig, autodiscover, profile
from clientsettings.autodiscover import ANSWER
from clientsettings.server import ServerSettings, settings_of
from clientsettings.stated import Stated
from propagation.models import MailServer
from tests.mail.certificates import fill, install, self_signed
from tests.mail.conftest import Site, applied
from tests.servers import PASSWORD, wait_for

pytestmark = pytest.mark.servers

Told = tuple[str, str, int, bool, str]  # protocol, host, port, TLS from the start, login


@pytest.fixture
def ports(site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the panel tell the server's ports, and its names lead to this machine, as DNS would."""
    for name in ("pop3", "pop3s", "imap", "imaps", "submission", "submissions"):
        setattr(settings, f"{name.upper()}_PORT_SHOWN", getattr(site.server.config, f"{name}_port"))
    names, real = {site.domain, site.server.config.hostname}, socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host in names else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def domain_of(site: Site, **fields: Any) -> Domain:
    """Return the panel's row of the site, as far as settings are made of it."""
    return Domain(name=site.domain, server=MailServer(name=site.server.config.hostname), **fields)


def told_to_thunderbird(server: ServerSettings, address: Stated) -> Iterator[Told]:
    """Read the autoconfig file as Thunderbird does."""
    root = fromstring(autoconfig.document(server, title="x", help_url="https://p.example/"))
    for one in root.iter():
        if one.tag in ("incomingServer", "outgoingServer"):
            login = one.findtext("username").replace("%EMAILADDRESS%", str(address))
            wrapped = one.findtext("socketType") == "SSL"
            yield (
                one.get("type"), one.findtext("hostname"), int(one.findtext("port")), wrapped, login
            )  # fmt: skip


def told_to_outlook(server: ServerSettings, address: Stated) -> Iterator[Told]:
    """Read autodiscover's answer as Outlook does."""
    for one in fromstring(autodiscover.answer(server, address)).iter(f"{{{ANSWER}}}Protocol"):
        found = {child.tag.partition("}")[2]: child.text for child in one}
        wrapped = found["Encryption"] == "SSL"
        kind, port = found["Type"].lower(), int(found["Port"])
        yield kind, found["Server"], port, wrapped, found["LoginName"]


def told_to_apple(server: ServerSettings, address: Stated) -> Iterator[Told]:
    """Read the profile as an iPhone does."""
    [mail] = plistlib.loads(profile.profile(server, address, name="x", text="x"))["PayloadContent"]
    for way, protocol in (("Incoming", "imap"), ("Outgoing", "smtp")):
        host, port, login = (
            mail[f"{way}MailServer{key}"] for key in ("HostName", "PortNumber", "Username")
        )
        yield protocol, host, port, True, login


def log_in(told: Told, trusted: Path) -> None:
    """Connect and log in as the program would; an error if name, port, TLS or login are wrong."""
    protocol, host, port, wrapped, login = told
    context = ssl.create_default_context(cafile=str(trusted))
    if protocol == "pop3":
        pop3 = (
            poplib.POP3_SSL(host, port, timeout=30, context=context)
            if wrapped
            else poplib.POP3(host, port, timeout=30)
        )
        if not wrapped:
            pop3.stls(context)
        pop3.user(login)
        pop3.pass_(PASSWORD)
        pop3.quit()
    elif protocol == "imap":
        imap = (
            imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=30)
            if wrapped
            else imaplib.IMAP4(host, port, timeout=30)
        )
        if not wrapped:
            imap.starttls(context)
        imap.login(login, PASSWORD)
        imap.logout()
    else:
        smtp = (
            smtplib.SMTP_SSL(host, port, "pc.outside.test", timeout=30, context=context)
            if wrapped
            else smtplib.SMTP(host, port, "pc.outside.test", timeout=30)
        )
        with smtp:
            if not wrapped:
                smtp.starttls(context=context)
            smtp.login(login, PASSWORD)


@pytest.mark.usefixtures("ports")
def test_what_every_program_is_told_works_for_mailbox_and_forward(site: Site) -> None:
    box = site.mailbox("my")
    assert applied(site.put(box, site.address("info", box.address)))
    server, trusted = settings_of(domain_of(site)), site.server.root / "tls/server.pem"
    assert server.host == site.server.config.hostname
    for local_part in (box.name, "info"):
        address = Stated(local_part, site.domain)
        told = [
            *told_to_thunderbird(server, address),
            *told_to_outlook(server, address),
            *told_to_apple(server, address),
        ]
        assert len(told) == 6 + 3 + 2
        assert {login for *_rest, login in told} == {str(address)}
        for one in told:
            log_in(one, trusted)


@pytest.mark.usefixtures("ports")
def test_domain_with_a_certificate_is_told_its_own_name_and_tls_agrees(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    trusted = fill(site, self_signed(site.domain, key), key) / "fullchain.pem"
    until = install(site).not_after
    server = settings_of(domain_of(site, certificate_until=until))
    assert until
    assert until > now() + timedelta(days=1)
    assert server.host == site.domain
    port = site.server.config.imaps_port
    shown = ssl.PEM_cert_to_DER_cert(trusted.read_text())
    assert wait_for(lambda: site.server.certificate(port, site.domain) == shown)
    for one in told_to_thunderbird(server, Stated(site.fixed.name, site.domain)):
        log_in(one, trusted)
