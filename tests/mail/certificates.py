"""Certificates of hosted domains for tests, laid where an ACME client would lay them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mailhost.host import CertificateState
from tests.mail.conftest import Site

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def self_signed(name: str, key: Key, days: float = 90, names: bool = True) -> x509.Certificate:
    """Return a certificate that signed itself; without `names` no client takes it for a host's."""
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


def fill(site: Site, shown: x509.Certificate | bytes, key: Key | bytes) -> Path:
    """Put files where an ACME client would."""
    directory = site.server.root / "certs" / site.domain
    directory.mkdir(exist_ok=True)
    chain = shown if isinstance(shown, bytes) else shown.public_bytes(serialization.Encoding.PEM)
    (directory / "fullchain.pem").write_bytes(chain)
    (directory / "privkey.pem").write_bytes(key if isinstance(key, bytes) else _pem(key))
    return directory


def install(site: Site) -> CertificateState:
    """Have the server take what lies there; return what it says of it."""
    with site.server.host.lock():
        return site.server.host.install_certificates()[site.domain]
