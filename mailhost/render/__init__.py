"""Postfix's, Dovecot's and ProFTPD's configuration, from the templates beside this file.

A template is the file itself, every setting explained above it; `{{ name }}` is
filled in. Dovecot's language differs from version to version, so there is a
folder per version; an unknown version is an error rather than a guess.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import pwd
import re
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mailhost import homes, panel_imap, programs
from mailhost.config import HostConfig
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.store import limits

_HERE = Path(__file__).parent
_FIELD = re.compile(r"\{\{ ([a-z0-9_]+) \}\}")
# Trash and Sent as Dovecot, Thunderbird, Outlook, Apple Mail and Becky! call them here.
_WITH_RESERVE = (
    "Trash", "Deleted Items", "Deleted Messages", "ごみ箱", "削除済みアイテム",
    "Sent", "Sent Items", "Sent Messages", "送信済み", "送信済みアイテム",
)  # fmt: skip
_VERSION = re.compile(r"(\d+)\.(\d+)\.")


class RenderError(HostError):
    """The configuration cannot be made for this machine; the message says why."""


def dovecot_version() -> str:
    """Ask the installed Dovecot for its version and return it as "2.3".

    Raises RenderError if there is none or no templates for it.
    """
    try:
        answer = programs.run(["dovecot", "--version"])
    except OSError as error:
        raise RenderError("Dovecot is not installed (package dovecot-core).") from error
    except programs.TimedOut as error:
        raise RenderError(f"{error}.") from error
    return templates_for(answer.out)


def templates_for(answer: str) -> str:
    """Return which templates serve the Dovecot that gave `answer` to --version."""
    match = _VERSION.match(answer)
    version = f"{match[1]}.{match[2]}" if match else answer.strip()
    known = sorted(path.name for path in (_HERE / "dovecot").iterdir() if path.is_dir())
    if version not in known:
        raise RenderError(
            f"Dovecot {version} is installed; there are templates for {', '.join(known)} only."
        )
    return version


def fill(template: str, values: dict[str, str]) -> str:
    """Fill in `{{ name }}`; a name without a value is a KeyError."""
    return _FIELD.sub(lambda match: values[match[1]], template)


def render(root: Path, config: HostConfig) -> list[Path]:
    """Write the servers' configuration below `root` and return the files."""
    paths = Paths(root)
    values = _values(paths, config)
    dovecot = _HERE / "dovecot" / dovecot_version()
    # A server of an earlier version has none yet.
    paths.ftp.mkdir(mode=0o700, exist_ok=True)
    return [
        _write(paths.postfix / "main.cf", _HERE / "postfix" / "main.cf", values, 0o644),
        _write(paths.postfix / "master.cf", _HERE / "postfix" / "master.cf", values, 0o644),
        _write(paths.postfix / "commands", _HERE / "postfix" / "commands", values, 0o644),
        # The secret by which the policy daemon knows Dovecot is in it.
        _write(paths.dovecot_conf, dovecot / "dovecot.conf", values, 0o600),
        _write(
            paths.dovecot / "dovecot-sql.conf.ext", dovecot / "dovecot-sql.conf.ext", values, 0o600
        ),
        _write(paths.ftp / "sftp.conf", _HERE / "proftpd" / "sftp.conf", values, 0o600),
        _write(paths.ftp_conf, _HERE / "proftpd" / "proftpd.conf", values, 0o600),
        # Read by Dovecot's auth process itself, which is no longer root.
        _write(paths.dovecot / "masters", dovecot / "masters", values, 0o640, _dovecots_group()),
    ]


def _dovecots_group() -> int:
    try:
        return pwd.getpwnam("dovecot").pw_gid
    except KeyError as error:
        raise RenderError("There is no user dovecot: install Debian's package.") from error


def _write(
    target: Path, template: Path, values: dict[str, str], mode: int, group: int | None = None
) -> Path:
    new = target.with_name(target.name + ".new")
    new.write_text(fill(template.read_text(), values))
    if group is not None:
        os.chown(new, -1, group)
    new.chmod(mode)
    new.replace(target)
    return target


def _values(paths: Paths, config: HostConfig) -> dict[str, str]:
    values = {
        name: str(getattr(config, name))
        for name in config.__dataclass_fields__
        if name not in ("homes_root", "certificates")
    }
    policy_key = paths.policy_key.read_text().strip()
    return (
        values
        | {
            "root": str(paths.root),
            "store": str(paths.store),
            "instance": "plusmail-" + config.hostname.partition(".")[0],
            "inet_protocols": _protocols(config.smtp_listen),
            "smtp_service": _smtp_service(config, config.smtp_port),
            "submission_service": _smtp_service(config, config.submission_port),
            "no_submission": "" if config.submission_port else "# ",
            "submissions_service": _smtp_service(config, config.submissions_port),
            "no_submissions": "" if config.submissions_port else "# ",
            "policy_key": policy_key,
            # Not the key itself: who hears that one must not learn about passwords by it.
            "hash_nonce": hashlib.sha256(b"nonce of " + policy_key.encode()).hexdigest(),
            "dovecot_listen": "*, ::" if config.login_listen == "*" else config.login_listen,
            "disable_plaintext_auth": "no" if config.plaintext_login else "yes",
            "postmaster_or_own": config.postmaster or f"postmaster@{config.hostname}",
            "peername_lookup": "yes" if config.client_names else "no",
            "failure_delay": "2 secs" if config.slow_guessing else "0",
            "own_name_maps": _own_name_map(config),
            "lmtp_listener": _lmtp_listener(config),
            "quota_limit": limits.LIMIT,
            "quota_reserve": limits.reserve(config),
            "quota_grace": str(limits.grace(config)),
            "quota_words": limits.FULL,
            "quota_reserves": _quota_reserves(),
            "usage_socket": str(paths.usage_socket),
            "panel_listener": _panel_listener(config),
            "master_separator": panel_imap.SEPARATOR,
            "master_looked_up": panel_imap.LOOKED_UP,
            "masters": panel_imap.masters(panel_imap.read_door(paths.panel_imap)),
        }
        | _ftp_values(paths, config)
    )


def _ftp_values(paths: Paths, config: HostConfig) -> dict[str, str]:
    everywhere = config.login_listen == "*"
    first, _, last = config.ftp_passive_ports.partition("-")
    ipv6 = everywhere or ipaddress.ip_address(config.login_listen).version == 6
    masquerade = f"MasqueradeAddress {config.ftp_address}"
    return {
        "homes": str(homes.root_of(paths.root, config)),
        "ftp_default_address": "0.0.0.0" if everywhere else config.login_listen,  # noqa: S104
        "ftp_bind_tight": "off" if everywhere else "on",
        "ftp_ipv6": "on" if ipv6 else "off",
        "ftp_tls_required": "off" if config.plaintext_login else "on",
        "tls_key_type": _key_type(paths.tls / "server.pem"),
        "ftp_passive_first": first,
        "ftp_passive_last": last,
        "ftp_masquerade": masquerade if config.ftp_address else "# (ftp_address is empty)",
        "ftp_ban": "on" if config.slow_guessing else "off",
        "include_sftp": f"Include {paths.ftp / 'sftp.conf'}" if config.sftp_port else "# (none)",
    }


def _key_type(pem: Path) -> str:
    """Return which kind of key the server's certificate has, as ProFTPD's settings call it."""
    try:
        key = serialization.load_pem_private_key(pem.read_bytes(), password=None)
    except FileNotFoundError:
        # What init makes.
        return "EC"
    return "RSA" if isinstance(key, RSAPrivateKey) else "EC"


def _protocols(listen: str) -> str:
    """Return what Postfix speaks; a server with one IPv4 address speaks from that alone."""
    if listen == "*" or ipaddress.ip_address(listen).version == 6:
        return "all"
    return "ipv4"


def _smtp_service(config: HostConfig, port: int) -> str:
    if config.smtp_listen == "*":
        return str(port)
    address = ipaddress.ip_address(config.smtp_listen)
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}"


def _own_name_map(config: HostConfig) -> str:
    if not config.postmaster:
        return ""
    names = ("postmaster", "abuse", "mailer-daemon")
    pairs = ", ".join(f"{{ {name}@{config.hostname} = {config.postmaster} }}" for name in names)
    return f", inline:{{ {pairs} }}"


def _lmtp_listener(config: HostConfig) -> str:
    if not config.lmtp_port:
        return "# (lmtp_port is 0: no LMTP over TCP)"
    return (
        f"inet_listener lmtp {{\n    address = {config.login_listen}\n"
        f"    port = {config.lmtp_port}\n  }}"
    )


def _quota_reserves() -> str:
    """Return a rule for each folder that has a reserve; `quota_rule` itself is the limit."""
    rules = enumerate(_WITH_RESERVE, 2)
    return "\n".join(
        f"  quota_rule{n} = {folder}:bytes=+%{{userdb:plusmail_reserve}}" for n, folder in rules
    )


def _panel_listener(config: HostConfig) -> str:
    if not config.panel_imap_port:
        return "# (panel_imap_port is 0: the panel cannot get at mail)"
    address = "*, ::" if config.panel_imap_listen == "*" else config.panel_imap_listen
    tls = "no" if panel_imap.is_loopback(config.panel_imap_listen) else "yes"
    return (
        f"inet_listener panel {{\n    address = {address}\n"
        f"    port = {config.panel_imap_port}\n    ssl = {tls}\n  }}"
    )
