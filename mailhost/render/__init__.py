"""Postfix's and Dovecot's configuration, from the templates beside this file.

A template is the file itself, every setting explained above it; `{{ name }}` is
filled in. Dovecot's language differs from version to version, so there is a
folder per version; an unknown version is an error rather than a guess.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from pathlib import Path

from mailhost import programs
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
    """Write both servers' configuration below `root` and return the files."""
    paths = Paths(root)
    values = _values(paths, config)
    dovecot = _HERE / "dovecot" / dovecot_version()
    return [
        _write(paths.postfix / "main.cf", _HERE / "postfix" / "main.cf", values, 0o644),
        _write(paths.postfix / "master.cf", _HERE / "postfix" / "master.cf", values, 0o644),
        _write(paths.postfix / "commands", _HERE / "postfix" / "commands", values, 0o644),
        # The secret by which the policy daemon knows Dovecot is in it.
        _write(paths.dovecot_conf, dovecot / "dovecot.conf", values, 0o600),
        _write(
            paths.dovecot / "dovecot-sql.conf.ext", dovecot / "dovecot-sql.conf.ext", values, 0o600
        ),
    ]


def _write(target: Path, template: Path, values: dict[str, str], mode: int) -> Path:
    new = target.with_name(target.name + ".new")
    new.write_text(fill(template.read_text(), values))
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
    return values | {
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
        "failure_delay": "2 secs" if config.slow_guessing else "0",
        "own_name_maps": _own_name_map(config),
        "lmtp_listener": _lmtp_listener(config),
        "quota_limit": limits.LIMIT,
        "quota_reserve": limits.reserve(config),
        "quota_grace": str(limits.grace(config)),
        "quota_words": limits.FULL,
        "quota_reserves": _quota_reserves(),
        "usage_socket": str(paths.usage_socket),
    }


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
