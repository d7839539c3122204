"""How the panel gets at the mail of any account: Dovecot's master user, on a listener of its own.

A master user logs in as `ACCOUNT*panel` with one secret (Dovecot 2.3 manual, "Master users").
Dovecot looks it up by protocol and port together, so that the secret is worth nothing on the
ports that customers use, nor on Postfix's.

`init` keeps the secret in one closed file, with all else that a client needs. Where the panel's
web server is another user, or another machine, it has a copy of that file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailhost.config import HostConfig
from mailhost.errors import HostError
from mailhost.paths import Paths

#: Between the account's name and the master user's; no name of an account has it.
SEPARATOR = "*"
_LOGIN = "panel"
#: How Dovecot writes what it looks up: user, protocol and the port that was connected to.
LOOKED_UP = "%u/%s/%{real_lport}"


class DoorError(HostError):
    """The file that says how to reach a mail server's IMAP cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where and by what the panel logs in.

    With `tls` the connection is TLS from its start, and `certificate` (PEM) is the one to trust
    beside those that everybody trusts.
    """

    host: str
    port: int
    tls: bool
    certificate: str
    login: str
    secret: str

    def login_as(self, account: str) -> str:
        """Return the login's name for an account's mail."""
        return f"{account}{SEPARATOR}{self.login}"


def make_door(paths: Paths, config: HostConfig) -> None:
    """Write how the panel reaches this server; the secret that is there already stays.

    Needs the server's own certificate.
    """
    held = ""
    with suppress(DoorError):
        held = read_door(paths.panel_imap).secret
    away = not is_loopback(config.panel_imap_listen)
    door = Door(
        host=config.hostname if away else config.panel_imap_listen,
        port=config.panel_imap_port,
        tls=away,
        certificate=_self_signed(paths.tls / "server.pem") if away else "",
        login=_LOGIN,
        secret=held or secrets.token_hex(32),
    )
    new = paths.panel_imap.with_name(paths.panel_imap.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(asdict(door), indent=2) + "\n")
    new.replace(paths.panel_imap)


def read_door(path: Path) -> Door:
    """Read what `make_door` wrote, or a copy of it. DoorError, also if there is none."""
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise DoorError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DoorError(f"{path} is not JSON") from error
    types = {field.name: field.type for field in fields(Door)}
    found = _types_of(values)
    if found != types:
        raise DoorError(f"{path} is no file of this version's init")
    return Door(**values)


def _types_of(values: Any) -> dict[str, str]:
    if not isinstance(values, dict):
        return {}
    return {name: type(value).__name__ for name, value in values.items()}


def masters(door: Door) -> str:
    """Return the lines of Dovecot's passwd-file for a door: none where its port is 0."""
    if not door.port:
        return ""
    # The secret has 256 bits of chance: nobody guesses it, however quick its hash is.
    hashed = hashlib.sha512(door.secret.encode()).hexdigest()
    return f"{door.login}/imap/{door.port}:{{SHA512.HEX}}{hashed}\n"


def is_loopback(listen: str) -> bool:
    """Say whether an address to listen on is this machine's own alone."""
    return listen != "*" and ipaddress.ip_address(listen).is_loopback


def _self_signed(path: Path) -> str:
    """Return the certificate in `path` if it signed itself, else ""."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.issuer != certificate.subject:
        return ""
    return certificate.public_bytes(Encoding.PEM).decode()
