"""Certificates as files that anybody may have written: what is read, kept and thrown out."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.x509.oid import NameOID

from mailhost import certificates
from mailhost.certificates import CHAIN_LIMIT, CertificateState

DOMAIN = "example.com"
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(days=30)


def pem(key: ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signed(key: ec.EllipticCurvePrivateKey, until: datetime = UNTIL) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=2))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


class Place:
    """A directory that an ACME client fills, and the copy both servers would be given."""

    def __init__(self, base: Path) -> None:
        self.directory = base / "certs" / DOMAIN
        self.directory.mkdir(parents=True)
        self.chain = self.directory / "fullchain.pem"
        self.key = self.directory / "privkey.pem"
        self.copy = base / f"{DOMAIN}.pem"

    def fill(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.chain.write_bytes(signed(key))
        self.key.write_bytes(pem(key))

    def take(self, now: datetime = NOW) -> CertificateState:
        return certificates._take(DOMAIN, self.directory, self.copy, now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.fill()
    return made


def test_good_one_is_copied_closed_to_others(place: Place) -> None:
    assert place.take() == CertificateState(UNTIL)
    assert place.copy.stat().st_mode & 0o777 == 0o600


def test_broken_renewal_is_said_beside_the_copy_that_serves(place: Place) -> None:
    place.take()
    place.chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf a fi")
    state = place.take()
    assert state.not_after == UNTIL
    assert "cannot be read" in state.problem
    assert place.copy.exists()


def test_expired_copy_leaves_service_however_the_files_are(place: Place) -> None:
    place.take()
    later = place.take(UNTIL)
    assert later == CertificateState(None, "it expired on 2026-12-25")
    assert not place.copy.exists()


def test_problem_without_a_copy_has_no_date(place: Place) -> None:
    place.key.unlink()
    assert place.take() == CertificateState(
        None, "privkey.pem cannot be read: No such file or directory"
    )


def test_copy_holds_the_key_and_the_chain_and_nothing_else(place: Place) -> None:
    certificate, key = place.chain.read_bytes(), place.key.read_bytes()
    place.chain.write_bytes(b"ssl_key = </etc/shadow\n" + certificate + b"\0rubbish")
    place.key.write_bytes(key.rstrip(b"\n"))
    assert not place.take().problem
    assert place.copy.read_bytes() == key + certificate


def test_link_is_not_followed(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside.pem"
    place.key.rename(outside)
    place.key.symlink_to(outside)
    assert place.take().problem == "privkey.pem is a link; the file itself has to be here"


def test_linked_directory_is_not_followed(place: Place, tmp_path: Path) -> None:
    place.directory.rename(tmp_path / "outside")
    place.directory.symlink_to(tmp_path / "outside")
    assert place.take().problem == "example.com is not a directory that can be read"


@pytest.mark.timeout(10)
def test_fifo_makes_nobody_wait(place: Place) -> None:
    place.chain.unlink()
    os.mkfifo(place.chain)
    assert place.take().problem == "fullchain.pem is not a regular file"


def test_directory_in_a_files_place_is_a_problem(place: Place) -> None:
    place.chain.unlink()
    place.chain.mkdir()
    assert "fullchain.pem" in place.take().problem


def test_huge_file_is_not_read_to_its_end(place: Place) -> None:
    os.truncate(place.chain, 2**40)
    begun = time.monotonic()
    assert place.take().problem == f"fullchain.pem has more than {CHAIN_LIMIT} bytes"
    assert time.monotonic() - begun < 1


def test_encrypted_key_asks_nobody_for_its_password(place: Place) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    place.key.write_bytes(locked)
    assert "cannot be read" in place.take().problem


def test_key_that_cannot_sign_is_a_problem(place: Place) -> None:
    place.key.write_bytes(pem(x25519.X25519PrivateKey.generate()))
    assert "not used for TLS" in place.take().problem
