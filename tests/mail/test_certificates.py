"""A certificate per domain, seen by real TLS clients; bad ones harm nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mailhost.host import CertificateState, Host
from tests.mail.certificates import Key, fill, install, self_signed
from tests.mail.conftest import Site
from tests.servers import wait_for

pytestmark = pytest.mark.servers

_DER = serialization.Encoding.DER


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
    certificate = self_signed(site.domain, key)
    fill(site, certificate, key)
    state = install(site)
    assert state == CertificateState(certificate.not_valid_after_utc)
    wanted = {certificate.public_bytes(_DER)}
    assert wait_for(lambda: _shown(site, site.domain) == wanted)
    assert _shown(site, "mail1.plusmail.test") == own
    assert _shown(site, "unknown.example.org") == own


def test_renewed_certificate_takes_the_old_ones_place(site: Site) -> None:
    for days in (10, 90):
        key = rsa.generate_private_key(65537, 2048)
        certificate = self_signed(site.domain, key, days)
        fill(site, certificate, key)
        install(site)
    assert wait_for(lambda: _shown(site, site.domain) == {certificate.public_bytes(_DER)})


def test_nothing_new_touches_neither_server(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    fill(site, self_signed(site.domain, key), key)
    install(site)
    before = (site.server.root / "etc/dovecot/sni.conf").stat().st_mtime_ns
    assert install(site).problem == ""
    assert (site.server.root / "etc/dovecot/sni.conf").stat().st_mtime_ns == before


def _bad(case: str, domain: str) -> tuple[x509.Certificate | bytes, Key | bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    good = self_signed(domain, key)
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 (the point)
    cases: dict[str, tuple[x509.Certificate | bytes, Key | bytes]] = {
        "is not for": (self_signed("other.example.com", key), key),
        "key is not": (good, ec.generate_private_key(ec.SECP256R1())),
        "expired": (self_signed(domain, key, days=-1), key),
        "names no host": (self_signed(domain, key, names=False), key),
        "cannot be read": (b"-----BEGIN CERTIFICATE-----\nhalf a fi", key),
        "cannot be read: ": (good, b""),
        "OpenSSL refuses": (self_signed(domain, small), small),
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
    fill(site, *_bad(case, site.domain))
    state = install(site)
    assert case in state.problem
    assert state.not_after is None
    assert _shown(site, site.domain) == own
    site.server.deliver(site.fixed.address, text="still served")
    assert site.server.got(site.fixed.name, "still served")


def test_broken_renewal_leaves_the_good_one_in_service(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(site.domain, key)
    fill(site, certificate, key)
    install(site)
    fill(site, b"", b"")
    state = install(site)
    assert state.problem
    assert state.not_after == certificate.not_valid_after_utc
    site.server.stop()
    site.server.start()
    assert _shown(site, site.domain) == {certificate.public_bytes(_DER)}


def test_certificate_that_expired_is_no_longer_shown(site: Site) -> None:
    own = _shown(site, site.domain)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(site.domain, key, days=5)
    fill(site, certificate, key)
    install(site)
    assert wait_for(lambda: _shown(site, site.domain) == {certificate.public_bytes(_DER)})
    later = Host(site.server.root, lambda: datetime.now(UTC) + timedelta(days=6))
    with later, later.lock():
        state = later.install_certificates()[site.domain]
    assert "expired" in state.problem
    assert state.not_after is None
    assert wait_for(lambda: _shown(site, site.domain) == own)


def test_keys_are_closed_to_all_but_root(site: Site) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    fill(site, self_signed(site.domain, key), key)
    install(site)
    for path in (*(site.server.root / "tls").rglob("*.pem"), site.server.root / "maps/sni.lmdb"):
        assert path.stat().st_mode & 0o077 == 0, path
