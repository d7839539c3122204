"""A TLS certificate per hosted domain, from a directory that an ACME client fills.

What would not serve (another name, another key, expired, half written) is left
out with the reason. What serves is copied first, so that neither server ever
reads a file that someone else is writing: one bad file in Dovecot's
configuration would stop it for everybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mailhost.maps import Maps
from mailhost.paths import Paths


@dataclass(frozen=True, slots=True)
class CertificateState:
    """A domain's certificate: until when it serves, or why it does not."""

    not_after: datetime | None = None
    problem: str = ""


class _Unfit(Exception):
    """Why a certificate would not serve."""


def check(domain: str, chain: bytes, key: bytes, now: datetime) -> datetime:
    """Return until when this certificate serves `domain`; _Unfit says why it does not."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        private = serialization.load_pem_private_key(key, password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise _Unfit("it names no host (no subjectAltName)") from error
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise _Unfit(f"it cannot be read: {error}") from error
    if not _covers(names.value.get_values_for_type(x509.DNSName), domain):
        raise _Unfit(f"it is not for {domain}")
    if _public(private.public_key()) != _public(certificate.public_key()):
        raise _Unfit("the key is not this certificate's")
    if now < certificate.not_valid_before_utc:
        raise _Unfit(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    if now >= certificate.not_valid_after_utc:
        raise _Unfit(f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificate.not_valid_after_utc


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

    The second value says whether Dovecot has to be reloaded; `installed` is then
    to be called after the reload, so that a crash before it is made good.
    """
    copies = paths.tls / "domains"
    copies.mkdir(mode=0o700, exist_ok=True)
    states: dict[str, CertificateState] = {}
    digests: dict[str, str] = {}
    for domain in domains:
        directory, copy = source / domain, copies / f"{domain}.pem"
        if not directory.is_dir():
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
    """Copy a certificate that serves. One that does not leaves an earlier copy in place."""
    try:
        chain = (directory / "fullchain.pem").read_bytes()
        key = (directory / "privkey.pem").read_bytes()
        not_after = check(domain, chain, key, now)
        if not key.endswith(b"\n"):
            key += b"\n"
        new = copy.with_suffix(".new")
        _replace(new, key + chain)
        # The last word is OpenSSL's own, which both servers ask: it may find a key too short.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(new)
    except _Unfit as unfit:
        return CertificateState(problem=str(unfit))
    except ssl.SSLError as error:
        new.unlink()
        return CertificateState(problem=f"OpenSSL refuses it: {error.reason}")
    except OSError as error:
        return CertificateState(problem=f"it cannot be read: {error.strerror}")
    new.replace(copy)
    return CertificateState(not_after=not_after)


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
