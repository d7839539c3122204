"""A TLS certificate per hosted domain, from a directory that an ACME client fills.

What would not serve (another name, another key, expired, half written) is left
out with the reason; a copy installed before goes on serving until it expires.
What serves is written anew in one plain form first, so that neither server ever
reads what someone else is writing: one bad file in Dovecot's configuration
would stop it for everybody.

The directory may belong to anyone: only regular files of a sane size in it are
read, links are not followed, and nothing in it makes the reader wait.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import ssl
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mailhost.maps import Maps
from mailhost.paths import Paths

#: Bytes: a key of 8192 bits RSA, and some twenty certificates. What is larger is no
#: certificate, and a key of absurd length would keep who checks it busy for minutes.
KEY_LIMIT = 8 * 1024
CHAIN_LIMIT = 64 * 1024

Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class CertificateState:
    """A domain's certificate: until when one serves, and why the newest files do not.

    Both are given when the files have a problem and an earlier copy still serves.
    """

    not_after: datetime | None = None
    problem: str = ""


class _Unfit(Exception):
    """Why a certificate would not serve."""


@dataclass(frozen=True, slots=True)
class _Certificate:
    """A certificate with its key, found fit to serve one domain."""

    chain: list[x509.Certificate]
    key: Key

    @property
    def not_after(self) -> datetime:
        return self.chain[0].not_valid_after_utc

    def pem(self) -> bytes:
        """Return the key and then the chain, as both servers want them, and nothing else."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return key + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in self.chain)


def _check(domain: str, chain: bytes, key: bytes, now: datetime) -> _Certificate:
    """Return a certificate that serves `domain` now; _Unfit says why this one does not."""
    certificate, names = _read(chain, key)
    leaf = certificate.chain[0]
    if not _covers(names, domain):
        raise _Unfit(f"it is not for {domain}")
    if _public(certificate.key.public_key()) != _public(leaf.public_key()):
        raise _Unfit("the key is not this certificate's")
    if now < leaf.not_valid_before_utc:
        raise _Unfit(f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}")
    if now >= leaf.not_valid_after_utc:
        raise _Unfit(f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    return certificate


def _read(chain: bytes, key: bytes) -> tuple[_Certificate, list[str]]:
    """Return certificate and key as they are written, and the names the certificate is for."""
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = serialization.load_pem_private_key(key, password=None)
        names = certificates[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
        hosts = names.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound as error:
        raise _Unfit("it names no host (no subjectAltName)") from error
    except Exception as error:
        # Bytes made to puzzle a parser leave it by many doors, and this is one domain of many.
        raise _Unfit(f"it cannot be read: {error}") from error
    if not isinstance(private, Key):
        raise _Unfit("its key is of a kind that is not used for TLS")
    return _Certificate(certificates, private), hosts


def _public(key: object) -> bytes:
    encode = key.public_bytes  # type: ignore[attr-defined]
    pem: bytes = encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def _covers(names: Iterable[str], domain: str) -> bool:
    parent = domain.partition(".")[2]
    return any(name.lower() in (domain, f"*.{parent}") for name in names)


def install(
    paths: Paths, maps: Maps, source: Path, domains: Iterable[str], now: datetime
) -> tuple[dict[str, CertificateState], bool]:
    """Bring the domains' certificates to both servers; return their states.

    A domain without a directory in `source` has none, and what was installed for it
    before is taken out of service. The second value says whether Dovecot has to be
    reloaded; `installed` is then to be called after the reload, so that a crash
    before it is made good.
    """
    copies = paths.tls / "domains"
    copies.mkdir(mode=0o700, exist_ok=True)
    states: dict[str, CertificateState] = {}
    digests: dict[str, str] = {}
    for domain in domains:
        directory, copy = source / domain, copies / f"{domain}.pem"
        if not os.path.lexists(directory):
            continue
        states[domain] = _take(domain, directory, copy, now)
        if copy.exists():
            digests[domain] = hashlib.sha256(copy.read_bytes()).hexdigest()
    for copy in copies.iterdir():
        if copy.name.removesuffix(".pem") not in digests:
            copy.unlink()
    if digests == _last(paths):
        return states, False
    files = {domain: copies / f"{domain}.pem" for domain in sorted(digests)}
    maps.rebuild_sni(files)
    _write_dovecot(paths, files)
    return states, True


def installed(paths: Paths) -> None:
    """Remember that both servers now have what `install` brought."""
    copies = (paths.tls / "domains").glob("*.pem")
    digests = {
        copy.name.removesuffix(".pem"): hashlib.sha256(copy.read_bytes()).hexdigest()
        for copy in copies
    }
    _replace(paths.tls / "installed.json", json.dumps(digests).encode())


def _last(paths: Paths) -> dict[str, str]:
    try:
        digests: dict[str, str] = json.loads((paths.tls / "installed.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return digests


def _take(domain: str, directory: Path, copy: Path, now: datetime) -> CertificateState:
    """Copy a certificate that serves. One that does not leaves a copy that still does."""
    try:
        chain, key = _files(directory)
        certificate = _check(domain, chain, key, now)
        new = copy.with_suffix(".new")
        _replace(new, certificate.pem())
        _ask_openssl(new)
    except _Unfit as unfit:
        return CertificateState(_still_serving(domain, copy, now), str(unfit))
    new.replace(copy)
    return CertificateState(certificate.not_after)


def _ask_openssl(file: Path) -> None:
    """Let OpenSSL, which both servers use, have the last word: it may find a key too short."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
    except ssl.SSLError as error:
        file.unlink()
        raise _Unfit(f"OpenSSL refuses it: {error.reason}") from error


def _still_serving(domain: str, copy: Path, now: datetime) -> datetime | None:
    """Return until when the installed copy serves; remove one that no longer does."""
    with suppress(FileNotFoundError):
        content = copy.read_bytes()
        try:
            return _check(domain, content, content, now).not_after
        except _Unfit:
            copy.unlink()
    return None


def _files(directory: Path) -> tuple[bytes, bytes]:
    """Return the chain and the key in a directory that somebody else may own."""
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _Unfit(f"{directory.name} is not a directory that can be read") from error
    try:
        chain = _content(opened, "fullchain.pem", CHAIN_LIMIT)
        return chain, _content(opened, "privkey.pem", KEY_LIMIT)
    finally:
        os.close(opened)


def _content(directory: int, name: str, limit: int) -> bytes:
    # Not to wait for a FIFO's other end either: O_NONBLOCK.
    how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        with open(os.open(name, how, dir_fd=directory), "rb") as file:  # noqa: PTH123 (no path)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Unfit(f"{name} is not a regular file")
            content = file.read(limit + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _Unfit(f"{name} is a link; the file itself has to be here") from error
        raise _Unfit(f"{name} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise _Unfit(f"{name} has more than {limit} bytes")
    return content


def _write_dovecot(paths: Paths, files: Mapping[str, Path]) -> None:
    blocks = [
        f"local_name {domain} {{\n  ssl_cert = <{file}\n  ssl_key = <{file}\n}}\n"
        for domain, file in files.items()
    ]
    text = "# Written by mailhost: the hosted domains' certificates.\n" + "".join(blocks)
    _replace(paths.dovecot / "sni.conf", text.encode(), 0o644)


def _replace(target: Path, content: bytes, mode: int = 0o600) -> None:
    new = target.with_name(target.name + ".tmp")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(target)
