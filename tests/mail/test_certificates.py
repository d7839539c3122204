"""A certificate per domain, seen by real TLS clients; bad ones harm nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mailhost.host import CertificateState, Host
from tests.mail.conftest import Site
from tests.servers import wait_for

pytestmark = pytest.mark.servers

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(name: str, key: Key, days: float = 90, names: bool = True) -> x509.Certificate:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, hashes.SHA256())


def _fill(site: Site, certificate: x509.Certificate | bytes, key: Key | bytes) -> Path:
    """Put files where an ACME client would."""
    directory = site.server.root / "certs" / site.domain
    directory.mkdir(exist_ok=True)
    chain = certificate if isinstance(certificate, bytes) else certificate.public_bytes(_PEM)
    (directory / "fullchain.pem").write_bytes(chain)
    (directory / "privkey.pem").write_bytes(key if isinstance(key, bytes) else _pem(key))
    return directory


_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER


def _install(site: Site) -> CertificateState:
    with site.server.host.lock():
        return site.server.host.install_certificates()[site.domain]


def _shown(site: Site, name: str) -> set[bytes]:
    """Return every certificate that the servers show for this name."""
    server, config = site.server, site.server.config
    return {
        server.certificate(config.smtp_port, name, starttls=True),
        server.certificate(config.pop3s_port, name),
        server.certificate(config.imaps_port, name),
    }


def test_domains_certificate_is_shown_by_both_servers(site: Site) -> None:
    own = _shown(site, site.domain)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(site.domain, key)
    _fill(site, certificate, key)
    state = _install(site)
    assert state == CertificateState(certificate.not_valid_after_utc)
    wanted = {certificate.public_bytes(_DER)}
    assert wait_for(lambda: _shown(site, site.domain) == wanted)
    assert _shown(site, "mail1.plusmail.test") == own
    assert _shown(site, "unknown.example.org") == own


def test_renewed_certificate_takes_the_old_ones_place(site: Site) -> None:
    for days in (10, 90):
        key = rsa.generate_private_key(65537, 2048)
        certificate = _certificate(site.domain, key, days)
        _fill(site, certificate, key)
        _install(site)
    assert wait_for(lambda: _shown(site, site.domain) == {certificate.public_bytes(_DER)})


def test_nothing_new_touches_neither_server(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _fill(site, _certificate(site.domain, key), key)
    _install(site)
    before = (site.server.root / "etc/dovecot/sni.conf").stat().st_mtime_ns
    assert _install(site).problem == ""
    assert (site.server.root / "etc/dovecot/sni.conf").stat().st_mtime_ns == before


def _bad(case: str, domain: str) -> tuple[x509.Certificate | bytes, Key | bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    good = _certificate(domain, key)
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 (the point)
    cases: dict[str, tuple[x509.Certificate | bytes, Key | bytes]] = {
        "is not for": (_certificate("other.example.com", key), key),
        "key is not": (good, ec.generate_private_key(ec.SECP256R1())),
        "expired": (_certificate(domain, key, days=-1), key),
        "names no host": (_certificate(domain, key, names=False), key),
        "cannot be read": (b"-----BEGIN CERTIFICATE-----\nhalf a fi", key),
        "cannot be read: ": (good, b""),
        "OpenSSL refuses": (_certificate(domain, small), small),
    }
    return cases[case]


@pytest.mark.parametrize(
    "case",
    [
        "is not for",
        "key is not",
        "expired",
        "names no host",
        "cannot be read",
        "cannot be read: ",
        "OpenSSL refuses",
    ],
)
def test_bad_certificate_is_left_out_with_the_reason(site: Site, case: str) -> None:
    own = _shown(site, "mail1.plusmail.test")
    _fill(site, *_bad(case, site.domain))
    state = _install(site)
    assert case in state.problem
    assert state.not_after is None
    assert _shown(site, site.domain) == own
    site.server.deliver(site.fixed.address, text="still served")
    assert site.server.got(site.fixed.name, "still served")


def test_broken_renewal_leaves_the_good_one_in_service(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(site.domain, key)
    _fill(site, certificate, key)
    _install(site)
    _fill(site, b"", b"")
    state = _install(site)
    assert state.problem
    assert state.not_after == certificate.not_valid_after_utc
    site.server.stop()
    site.server.start()
    assert _shown(site, site.domain) == {certificate.public_bytes(_DER)}


def test_certificate_that_expired_is_no_longer_shown(site: Site) -> None:
    own = _shown(site, site.domain)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(site.domain, key, days=5)
    _fill(site, certificate, key)
    _install(site)
    assert wait_for(lambda: _shown(site, site.domain) == {certificate.public_bytes(_DER)})
    later = Host(site.server.root, lambda: datetime.now(UTC) + timedelta(days=6))
    with later, later.lock():
        state = later.install_certificates()[site.domain]
    assert "expired" in state.problem
    assert state.not_after is None
    assert wait_for(lambda: _shown(site, site.domain) == own)


def test_keys_are_closed_to_all_but_root(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _fill(site, _certificate(site.domain, key), key)
    _install(site)
    for path in (*(site.server.root / "tls").rglob("*.pem"), site.server.root / "maps/sni.lmdb"):
        assert path.stat().st_mode & 0o077 == 0, path
