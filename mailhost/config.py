"""How one mail server is set up: names, ports, limits; kept as `host.json` in its root.

Every value ends up in a Postfix or Dovecot file, so each has a form of its own
and a wrong one is refused before anything is rendered.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mailhost import grammar

# Postfix and Dovecot take a path up to the next blank; their variables start with $ or %.
_PATH = re.compile(r"\A(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*|/\.[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+\Z")
_OUTBOUND = re.compile(
    r"\A(?:smtp:(?:\[[A-Za-z0-9.:-]+\](?::[0-9]{1,5})?)?"
    r"|error:5\.[0-9]\.[0-9] [A-Za-z0-9 .,'-]{1,200})\Z"
)


class ConfigError(ValueError):
    """A setting the servers could not be run with; the message names it."""


def plain_path(path: Path) -> bool:
    """Say whether `path` can stand in both servers' files without quoting."""
    return bool(_PATH.match(str(path)))


@dataclass(frozen=True, slots=True)
class HostConfig:
    """One mail server's settings. A port of 0 means: do not listen there.

    `smtp_listen` and `login_listen` are an IP address or "*". `outbound` is where
    mail for other domains goes: "smtp:" (by MX), "smtp:[HOST]:PORT" (all through
    one host) or "error:5.7.1 TEXT" (nowhere). `postmaster` takes mail for the
    server's own name. `slow_guessing` makes an address wait that tried wrong
    passwords, up to 17 seconds; not wanted where all logins come from one address,
    as in tests. `homes_root` and `certificates` may be empty: then they are
    `homes` and `certs` in the root.
    """

    hostname: str
    smtp_listen: str = "127.0.0.1"
    login_listen: str = "127.0.0.1"
    smtp_port: int = 2525
    pop3_port: int = 2110
    pop3s_port: int = 2995
    imap_port: int = 2143
    imaps_port: int = 2993
    lmtp_port: int = 0
    mail_uid: int = 5000
    mail_gid: int = 5000
    message_size_limit: int = 10 * 1024 * 1024
    max_recipients: int = 100
    plaintext_login: bool = True
    slow_guessing: bool = True
    outbound: str = "error:5.7.1 This server sends no mail to other domains"
    homes_root: str = ""
    certificates: str = ""
    postmaster: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError at the first setting that could not be run with."""
        _must(bool(grammar.DOMAIN.match(self.hostname)), "hostname")
        _must(_listenable(self.smtp_listen), "smtp_listen")
        _must(_listenable(self.login_listen), "login_listen")
        for name in ("smtp", "pop3", "pop3s", "imap", "imaps", "lmtp"):
            _must(0 <= getattr(self, f"{name}_port") <= 65535, f"{name}_port")
        _must(1 <= self.mail_uid < 2**31, "mail_uid")
        _must(1 <= self.mail_gid < 2**31, "mail_gid")
        _must(10_000 <= self.message_size_limit < 2**31, "message_size_limit")
        _must(1 <= self.max_recipients <= 1000, "max_recipients")
        _must(bool(_OUTBOUND.match(self.outbound)), "outbound")
        for name in ("homes_root", "certificates"):
            text = getattr(self, name)
            _must(not text or plain_path(Path(text)), name)
        if self.postmaster:
            _must(bool(grammar.DESTINATION.match(self.postmaster)), "postmaster")

    def save(self, root: Path) -> None:
        """Write `host.json` so that a crash leaves the old one or the new one."""
        new = root / "host.json.new"
        new.write_text(json.dumps(asdict(self), indent=2) + "\n")
        new.chmod(0o600)
        new.replace(root / "host.json")


def load_config(root: Path) -> HostConfig:
    """Read `host.json`. Raises ConfigError, also when there is none."""
    try:
        values: dict[str, Any] = json.loads((root / "host.json").read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{root} is no mail server yet: run init first") from error
    except ValueError as error:
        raise ConfigError(f"{root}/host.json is not JSON: {error}") from error
    types = {field.name: field.type for field in fields(HostConfig)}
    for name, value in values.items():
        if name not in types:
            raise ConfigError(f"host.json: there is no setting {name}")
        _must(type(value).__name__ == types[name], name)
    return HostConfig(**values)


def _listenable(text: str) -> bool:
    if text == "*":
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _must(fact: bool, setting: str) -> None:
    if not fact:
        raise ConfigError(f"host.json: {setting} has a value the servers cannot use")
