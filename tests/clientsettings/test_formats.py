"""The formats that mail programs ask for, read back as the programs would."""

from __future__ import annotations

import plistlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID
from defusedxml.ElementTree import fromstring
from django.core.checks import run_checks
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from clientsettings import autoconfig, autodiscover, dns, profile
from clientsettings.server import Protocol, ServerSettings, Service
from clientsettings.stated import Stated

INFO = Stated("info", "example.com")
SERVICES = (
    Service(Protocol.POP3, 995, implicit=True),
    Service(Protocol.POP3, 110, implicit=False),
    Service(Protocol.IMAP, 993, implicit=True),
    Service(Protocol.SMTP, 465, implicit=True),
    Service(Protocol.SMTP, 587, implicit=False),
)
SERVER = ServerSettings("example.com", "mail1.plusmail.test", SERVICES)
ANSWER = {"a": autodiscover.ANSWER}
QUESTION = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/'
    'requestschema/2006"><Request><EMailAddress>{address}</EMailAddress>'
    "<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/"
    "responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
)


def test_autoconfig_names_every_port_the_first_choice_first() -> None:
    root = fromstring(autoconfig.document(SERVER, title="さくら", help_url="https://p/help"))
    assert (root.tag, root.get("version")) == ("clientConfig", "1.1")
    assert root.findtext("emailProvider/domain") == "example.com"
    assert root.findtext("emailProvider/displayName") == "さくら"
    found = [
        (
            server.tag,
            server.get("type"),
            server.findtext("hostname"),
            server.findtext("port"),
            server.findtext("socketType"),
            server.findtext("authentication"),
        )
        for server in root.iter()
        if server.tag in {"incomingServer", "outgoingServer"}
    ]
    host, kind = "mail1.plusmail.test", "password-cleartext"
    assert found == [
        ("incomingServer", "pop3", host, "995", "SSL", kind),
        ("incomingServer", "pop3", host, "110", "STARTTLS", kind),
        ("incomingServer", "imap", host, "993", "SSL", kind),
        ("outgoingServer", "smtp", host, "465", "SSL", kind),
        ("outgoingServer", "smtp", host, "587", "STARTTLS", kind),
    ]


@pytest.mark.parametrize(
    ("domain", "login"),
    [
        ("example.com", "%EMAILADDRESS%"),
        ("xn--wgv71a.example", "%EMAILLOCALPART%@xn--wgv71a.example"),
    ],
)
def test_login_that_autoconfig_gives_is_the_address_as_the_server_has_it(
    domain: str, login: str
) -> None:
    server = ServerSettings(domain, "mail1.plusmail.test", SERVICES)
    root = fromstring(autoconfig.document(server, title="x", help_url="https://p/"))
    assert {name.text for name in root.iter("username")} == {login}


def test_outlook_is_told_one_port_of_each_protocol_with_the_address_as_login() -> None:
    root = fromstring(autodiscover.answer(SERVER, INFO))
    found = [
        {child.tag.partition("}")[2]: child.text for child in protocol}
        for protocol in root.iterfind(".//a:Protocol", ANSWER)
    ]
    common = {
        "Server": "mail1.plusmail.test",
        "LoginName": "info@example.com",
        "DomainRequired": "off",
        "SPA": "off",
        "SSL": "on",
        "Encryption": "SSL",
        "AuthRequired": "on",
    }
    assert found == [
        {"Type": "POP3", "Port": "995"} | common,
        {"Type": "IMAP", "Port": "993"} | common,
        {"Type": "SMTP", "Port": "465", "UsePOPAuth": "on", "SMTPLast": "off"} | common,
    ]
    assert root.findtext(".//a:Action", namespaces=ANSWER) == "settings"


def test_outlook_is_told_starttls_where_there_is_nothing_else() -> None:
    server = ServerSettings("example.com", "m.example", (Service(Protocol.SMTP, 587, False),))
    protocol = fromstring(autodiscover.answer(server, INFO)).find(".//a:Protocol", ANSWER)
    assert protocol is not None
    assert [
        protocol.findtext(f"a:{name}", namespaces=ANSWER) for name in ("SSL", "Encryption")
    ] == [
        "off",
        "TLS",
    ]


# What is posted to autodiscover.


def test_question_of_outlook_is_understood() -> None:
    assert autodiscover.address_in(QUESTION.format(address=" Info@Example.com ").encode()) == (
        "Info@Example.com"
    )


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
HEAD, BODY = QUESTION.split("?>", 1)
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no xml": b"info@example.com",
    "another document": b"<Autodiscover/>",
    "without an address": QUESTION.replace("EMailAddress", "Mail").encode(),
    "an empty address": QUESTION.format(address="").encode(),
    "ActiveSync's schema": QUESTION.replace("responseschema/2006a", "mobilesync/2006").encode(),
    "cut off": QUESTION.format(address="info@example.com").encode()[:-20],
    "a DOCTYPE": f"{HEAD}?><!DOCTYPE x>{BODY}".encode(),
    "a DOCTYPE elsewhere": f'{HEAD}?><!DOCTYPE x SYSTEM "http://127.0.0.1:1/">{BODY}'.encode(),
    "a billion laughs": f"{HEAD}?>{BOMB}{BODY.format(address='&c;')}".encode(),
    "an entity of a file": (
        f'{HEAD}?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>{BODY.format(address="&f;")}'
    ).encode(),
    "an unknown entity": QUESTION.format(address="&f;").encode(),
    "UTF-16": QUESTION.replace("utf-8", "utf-16")
    .format(address="info@example.com")
    .encode("utf-16"),
    "said to be UTF-16": QUESTION.replace("utf-8", "utf-16").format(address="a@b.c").encode(),
    "Shift_JIS": QUESTION.replace("utf-8", "shift_jis").format(address="情報@b.c").encode("cp932"),
    "UTF-7": QUESTION.replace("utf-8", "utf-7").format(address="a@b.c").encode(),
    "an encoding nobody knows": QUESTION.replace("utf-8", "x-none")
    .format(address="a@b.c")
    .encode(),
    "bytes that are no UTF-8": QUESTION.format(address="a@b.c").encode() + b"\xff\xfe",
    "a NUL": QUESTION.format(address="in\0fo@example.com").encode(),
    "too long": QUESTION.format(address="a" * 9000 + "@example.com").encode(),
    "deep": b"<a>" * 2000 + b"</a>" * 2000,
}


@pytest.mark.parametrize("question", HOSTILE.values(), ids=list(HOSTILE))
def test_what_is_no_question_is_refused(question: bytes) -> None:
    with pytest.raises(autodiscover.Malformed):
        autodiscover.address_in(question)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_it_fail_otherwise(question: bytes) -> None:
    for posted in (question, QUESTION.encode().replace(b"{address}", question)):
        try:
            autodiscover.address_in(posted)
        except autodiscover.Malformed:
            continue


# Apple's profile.


def test_profile_sets_up_imap_and_asks_for_the_password() -> None:
    content = plistlib.loads(profile.profile(SERVER, INFO, name="メール", text="説明"))
    [mail] = content["PayloadContent"]
    assert (content["PayloadType"], content["PayloadVersion"]) == ("Configuration", 1)
    assert content["PayloadDisplayName"] == "メール"
    assert mail["PayloadType"] == "com.apple.mail.managed"
    assert mail["EmailAccountType"] == "EmailTypeIMAP"
    assert mail["EmailAddress"] == "info@example.com"
    for way, port in (("Incoming", 993), ("Outgoing", 465)):
        assert mail[f"{way}MailServerHostName"] == "mail1.plusmail.test"
        assert mail[f"{way}MailServerPortNumber"] == port
        assert mail[f"{way}MailServerUseSSL"] is True
        assert mail[f"{way}MailServerUsername"] == "info@example.com"
        assert mail[f"{way}MailServerAuthentication"] == "EmailAuthPassword"
    assert mail["OutgoingPasswordSameAsIncomingPassword"] is True
    # OutgoingPasswordSameAsIncomingPassword is a switch; no other key speaks of one.
    assert [key for key in mail if "Password" in key] == ["OutgoingPasswordSameAsIncomingPassword"]


def test_profile_uses_pop_where_there_is_no_imap() -> None:
    pop = tuple(service for service in SERVICES if service.protocol != Protocol.IMAP)
    server = ServerSettings("example.com", "mail1.plusmail.test", pop)
    [mail] = plistlib.loads(profile.profile(server, INFO, name="x", text="x"))["PayloadContent"]
    assert (mail["EmailAccountType"], mail["IncomingMailServerPortNumber"]) == ("EmailTypePOP", 995)


def test_profile_fetched_again_takes_the_place_of_the_first() -> None:
    first, again = (profile.profile(SERVER, INFO, name="x", text="x") for _ in range(2))
    assert first == again
    other = profile.profile(SERVER, Stated("sales", "example.com"), name="x", text="x")
    ids = [plistlib.loads(content)["PayloadIdentifier"] for content in (first, other)]
    assert len(set(ids)) == 2


Signer = Callable[..., None]


@pytest.fixture
def signer(tmp_path: Path, settings: Settings) -> Signer:
    """Configure a certificate with its key, or with another's."""

    def configure(*, own_key: bool = True) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "panel.plusmail.test")])
        today = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + timedelta(days=9))
        )
        certificate = builder.sign(key, hashes.SHA256())
        kept = key if own_key else ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
        (tmp_path / "key.pem").write_bytes(
            kept.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        settings.PROFILE_CERTIFICATE = str(tmp_path / "cert.pem")
        settings.PROFILE_KEY = str(tmp_path / "key.pem")

    return configure


def test_profile_is_signed_where_a_certificate_is_configured(signer: Signer) -> None:
    plain = profile.profile(SERVER, INFO, name="x", text="x")
    signer()
    signed = profile.profile(SERVER, INFO, name="x", text="x")
    [certificate] = pkcs7.load_der_pkcs7_certificates(signed)
    assert "panel.plusmail.test" in certificate.subject.rfc4514_string()
    assert plain in signed
    assert run_checks(include_deployment_checks=True, tags=["profiles"]) == []


def test_renewed_certificate_is_used_without_a_restart(signer: Signer) -> None:
    signer()
    [first] = pkcs7.load_der_pkcs7_certificates(profile.signed(b"x"))
    signer()
    [second] = pkcs7.load_der_pkcs7_certificates(profile.signed(b"x"))
    assert first.public_bytes(serialization.Encoding.DER) != second.public_bytes(
        serialization.Encoding.DER
    )


def test_wrong_key_leaves_profiles_unsigned_and_is_told(signer: Signer) -> None:
    signer(own_key=False)
    assert plistlib.loads(profile.profile(SERVER, INFO, name="x", text="x"))
    [found] = run_checks(include_deployment_checks=True, tags=["profiles"])
    assert found.id == "clientsettings.E002"
    assert "key is not this certificate's" in found.msg


def test_half_a_setting_is_told(signer: Signer, settings: Settings) -> None:
    signer()
    settings.PROFILE_KEY = ""
    [found] = run_checks(include_deployment_checks=True, tags=["profiles"])
    assert found.id == "clientsettings.E001"


# DNS.


def test_dns_records_name_every_service_and_say_what_there_is_not() -> None:
    assert [str(record) for record in dns.records(SERVER, "panel.example.jp")] == [
        "_pop3s._tcp.example.com. IN SRV 0 1 995 mail1.plusmail.test.",
        "_pop3._tcp.example.com. IN SRV 10 1 110 mail1.plusmail.test.",
        "_imaps._tcp.example.com. IN SRV 20 1 993 mail1.plusmail.test.",
        "_imap._tcp.example.com. IN SRV 0 0 0 .",
        "_submissions._tcp.example.com. IN SRV 0 1 465 mail1.plusmail.test.",
        "_submission._tcp.example.com. IN SRV 10 1 587 mail1.plusmail.test.",
        "_autodiscover._tcp.example.com. IN SRV 0 0 443 panel.example.jp.",
        "autoconfig.example.com. IN CNAME panel.example.jp.",
    ]
    assert len(dns.records(SERVER, "")) == 6
