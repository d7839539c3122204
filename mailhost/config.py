"""How one mail server is set up: names, ports, limits; kept as `host.json` in its root.

Every value ends up in a Postfix, Dovecot or ProFTPD file, so each has a form of its own
and a wrong one is refused before anything is rendered.
"""

from __future__ import annotations

import ipaddress
import json
import re
import zoneinfo
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mailhost import grammar
from mailhost.errors import HostError

# Postfix and Dovecot take a path up to the next blank; their variables start with $ or %.
_PATH = re.compile(r"\A(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*|/\.[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+\Z")
_OUTBOUND = re.compile(
    r"\A(?:smtp:(?:\[[A-Za-z0-9.:-]+\](?::[0-9]{1,5})?)?"
    r"|error:5\.[0-9]\.[0-9] [A-Za-z0-9 .,'-]{1,200})\Z"
)


# What a new server had before customers could send by it: below what an account may send today,
# or no more than that, so that Postfix would answer before the policy daemon.
_BEFORE_SENDING = {"message_size_limit": 10 * 1024 * 1024, "max_recipients": 100}


_PORTS = re.compile(r"\A([0-9]{4,5})-([0-9]{4,5})\Z")
# Ports of which any may be 0: not listened on.
_OPTIONAL_PORTS = (
    "submission",
    "submissions",
    "pop3",
    "pop3s",
    "imap",
    "imaps",
    "lmtp",
    "ftp",
    "sftp",
    "ssh",
    "panel_imap",
    "webmail",
)
# The ports where customers read their mail.
_CUSTOMERS = ("pop3", "pop3s", "imap", "imaps")


class ConfigError(HostError):
    """A setting the servers could not be run with; the message names it."""


def plain_path(path: Path) -> bool:
    """Say whether `path` can stand in both servers' files without quoting."""
    return bool(_PATH.match(str(path)))


def _setting(default: Any, form: str, text: str) -> Any:
    """Declare a setting: its value on a new server, how one is written, and what it does."""
    return field(default=default, metadata={"form": form, "help": text})


@dataclass(frozen=True, slots=True)
class HostConfig:
    """One mail server's settings; what each does stands beside it and in `init --help`."""

    hostname: str = field(
        metadata={
            "form": "NAME",
            "help": "the server's own name, by which mail programs and other mail servers know it",
        }
    )
    smtp_listen: str = _setting(
        "127.0.0.1",
        "IP",
        "where Postfix takes mail, from other servers and from customers: one IP address,"
        " or * for all",
    )
    login_listen: str = _setting(
        "127.0.0.1",
        "IP",
        "where logins by POP3, IMAP, FTP, SFTP and SSH are taken: one IP address, or * for all",
    )
    smtp_port: int = _setting(
        2525, "PORT", "port for mail from other servers (the Internet uses 25)"
    )
    submission_port: int = _setting(
        2587,
        "PORT",
        "port where customers send with their password, after STARTTLS (usually 587); 0: none",
    )
    submissions_port: int = _setting(
        2465, "PORT", "port where they send inside TLS (usually 465); 0: none"
    )
    pop3_port: int = _setting(2110, "PORT", "port for POP3 (usually 110); 0: none")
    pop3s_port: int = _setting(2995, "PORT", "port for POP3 inside TLS (usually 995); 0: none")
    imap_port: int = _setting(2143, "PORT", "port for IMAP (usually 143); 0: none")
    imaps_port: int = _setting(2993, "PORT", "port for IMAP inside TLS (usually 993); 0: none")
    panel_imap_port: int = _setting(
        2144,
        "PORT",
        "port of panel-imap-listen where the panel alone gets at all mail, for its pages of"
        " remote mail; 0: none",
    )
    panel_imap_listen: str = _setting(
        "127.0.0.1",
        "IP",
        "where that port is: one IP address, or * for all; elsewhere than on this machine it"
        " speaks TLS from the start",
    )
    webmail_port: int = _setting(
        0,
        "PORT",
        "port of 127.0.0.1 where the web server in front finds webmail, such as 2180; 0: no"
        " webmail",
    )
    webmail_imap_port: int = _setting(
        2145, "PORT", "port of 127.0.0.1 where webmail alone reads mail"
    )
    webmail_submission_port: int = _setting(
        2588, "PORT", "port of 127.0.0.1 where webmail alone sends mail"
    )
    reply_port: int = _setting(
        2589,
        "PORT",
        "port of 127.0.0.1 where Dovecot alone hands over what mailboxes answer by themselves",
    )
    webmail_uid: int = _setting(
        5004,
        "NUMBER",
        "user id by which webmail runs; no such user need exist, and it may own nothing else",
    )
    webmail_gid: int = _setting(5004, "NUMBER", "group id by which webmail runs")
    lmtp_port: int = _setting(
        0,
        "PORT",
        "port of login-listen where other machines may deliver by LMTP, unchecked; 0: none"
        " (Postfix itself needs no port for it)",
    )
    ftp_port: int = _setting(2121, "PORT", "port for FTP, with explicit TLS (usually 21); 0: none")
    sftp_port: int = _setting(
        2122, "PORT", "port for SFTP (such as 2222, 22 being the system's own); 0: none"
    )
    ssh_port: int = _setting(
        2022,
        "PORT",
        "port where accounts read their mail by SSH, in Alpine (such as 2022, 22 being the"
        " system's own); 0: none",
    )
    ssh_uid: int = _setting(
        5002, "NUMBER", "user and group id of what speaks SSH with customers, and of nothing else"
    )
    ssh_session_uid: int = _setting(
        5003, "NUMBER", "user and group id of Alpine in its sandbox, and of nothing else"
    )
    ssh_sessions: int = _setting(
        50,
        "NUMBER",
        "most sessions by SSH at once; each takes 20 MB of memory, 550 MB at the very most",
    )
    ftp_passive_ports: str = _setting(
        "11000-11999",
        "FIRST-LAST",
        "ports of login-listen where FTP's data connections come in; a firewall has to let them"
        " through",
    )
    ftp_address: str = _setting(
        "",
        "IP",
        "the address that FTP clients are told for data connections, where this machine has"
        " another one behind NAT; empty: the one they came to",
    )
    policy_port: int = _setting(
        2400,
        "PORT",
        "port of 127.0.0.1 where Dovecot asks the policy daemon about logins; below 1024 no"
        " local user can take it while the daemon is down",
    )
    mail_uid: int = _setting(
        5000,
        "NUMBER",
        "user id that owns all stored mail; no such user need exist, none should log in",
    )
    mail_gid: int = _setting(5000, "NUMBER", "group id that owns all stored mail")
    message_size_limit: int = _setting(
        10 * 1024 * 1024 + 64 * 1024,
        "BYTES",
        "largest message taken at all, with its attachments as sent; a little above the most"
        " that an account may send",
    )
    trash_reserve: int = _setting(
        0,
        "BYTES",
        "how much still goes into Trash and Sent of a full mailbox, for programs that delete by"
        " copying there; 0: all that it holds",
    )
    max_recipients: int = _setting(
        1100,
        "NUMBER",
        "most recipients of one message in one delivery, others get a try-later; above the most"
        " that an account may send to",
    )
    pop_before_smtp: bool = _setting(
        True,
        "yes|no",
        "let a login by POP3 or IMAP open the way for mail from the same IP address; no:"
        " customers send with their password only",
    )
    window_minutes: int = _setting(30, "NUMBER", "minutes for which such a login opens the way")
    no_window_networks: str = _setting(
        "",
        "NETWORKS",
        "where no login opens the way, such as 192.0.2.0/24,2001:db8::/32: addresses that many"
        " strangers share",
    )
    time_zone: str = _setting(
        "Asia/Tokyo", "ZONE", "whose midnight begins a day of the limits, such as Europe/Berlin"
    )
    help_url: str = _setting(
        "", "URL", "the page for customers that every refusal of their mail names; empty: none"
    )
    plaintext_login: bool = _setting(
        True, "yes|no", "let passwords come without TLS, as on the old POP3 port 110"
    )
    slow_guessing: bool = _setting(
        True,
        "yes|no",
        "slow down and then refuse whoever guesses passwords; no where all logins come from one"
        " address",
    )
    client_names: bool = _setting(
        True,
        "yes|no",
        "ask DNS for the names of clients, for the log and for Received lines; no where all come"
        " from addresses without a name, which would wait for an answer",
    )
    outbound: str = _setting(
        "smtp:",
        "ROUTE",
        'how mail leaves for other domains: "smtp:" (straight to each), "smtp:[HOST]:PORT"'
        ' (all through one relay) or "error:5.7.1 TEXT" (none leaves; senders get TEXT)',
    )
    homes_root: str = _setting(
        "",
        "DIRECTORY",
        "where the domains' own directories lie; empty: homes, in the server's directory",
    )
    home_uid: int = _setting(
        5001,
        "NUMBER",
        "user id that owns the domains' homes, under which FTP serves them; not that of the mail",
    )
    home_gid: int = _setting(
        5001,
        "NUMBER",
        "group id of the homes; whoever runs the panel's web process is a member, to read archives",
    )
    certificates: str = _setting(
        "",
        "DIRECTORY",
        "where an ACME client puts DOMAIN/fullchain.pem and DOMAIN/privkey.pem; empty: certs,"
        " in the server's directory",
    )
    postmaster: str = _setting(
        "",
        "ADDRESS",
        "who gets mail for postmaster, abuse and mailer-daemon at the server's own name;"
        " empty: nobody, it is refused",
    )

    def __post_init__(self) -> None:
        """Raise ConfigError at the first setting that could not be run with."""
        _must(bool(grammar.DOMAIN.match(self.hostname)), "hostname")
        _must(_listenable(self.smtp_listen), "smtp_listen")
        _must(_listenable(self.login_listen), "login_listen")
        _must(0 < self.smtp_port <= 65535, "smtp_port")
        _must(0 < self.policy_port <= 65535, "policy_port")
        _must(_listenable(self.panel_imap_listen), "panel_imap_listen")
        for name in _OPTIONAL_PORTS:
            _must(0 <= getattr(self, f"{name}_port") <= 65535, f"{name}_port")
        # By the port the panel's login is told from a customer's.
        taken = {getattr(self, f"{name}_port") for name in _CUSTOMERS}
        _must(not self.panel_imap_port or self.panel_imap_port not in taken, "panel_imap_port")
        _must(0 < self.reply_port <= 65535, "reply_port")
        self._check_webmail(taken)
        self._check_ids()
        _must(_port_range(self.ftp_passive_ports), "ftp_passive_ports")
        _must(1 <= self.ssh_sessions <= 10_000, "ssh_sessions")
        _must(not self.ftp_address or _address(self.ftp_address), "ftp_address")
        _must(10_000 <= self.message_size_limit < 2**31, "message_size_limit")
        _must(0 <= self.trash_reserve < 2**40, "trash_reserve")
        _must(1 <= self.max_recipients <= 100_000, "max_recipients")
        _must(1 <= self.window_minutes <= 7 * 24 * 60, "window_minutes")
        _must(_networks(self.no_window_networks), "no_window_networks")
        _must(_zone(self.time_zone), "time_zone")
        _must(not self.help_url or bool(grammar.URL.match(self.help_url)), "help_url")
        _must(bool(_OUTBOUND.match(self.outbound)), "outbound")
        for name in ("homes_root", "certificates"):
            text = getattr(self, name)
            _must(not text or plain_path(Path(text)), name)
        if self.postmaster:
            _must(bool(grammar.DESTINATION.match(self.postmaster)), "postmaster")

    def _check_webmail(self, customers: set[int]) -> None:
        for name in ("webmail_imap", "webmail_submission"):
            _must(0 < getattr(self, f"{name}_port") <= 65535, f"{name}_port")
        # By the port webmail's logins are told from a customer's, and from the panel's.
        others = {*customers, self.panel_imap_port} if self.webmail_port else set()
        _must(self.webmail_imap_port not in others, "webmail_imap_port")

    def _check_ids(self) -> None:
        """Let no two services share a user: a hole in one must not lead to what another has."""
        ssh = ("ssh_uid", "ssh_session_uid")
        for names in (
            ("mail_uid", "home_uid", *ssh, "webmail_uid"),
            ("mail_gid", "home_gid", *ssh, "webmail_gid"),
        ):
            taken: set[int] = set()
            for name in names:
                number = getattr(self, name)
                _must(1 <= number < 2**31 and number not in taken, name)
                taken.add(number)

    def save(self, root: Path) -> None:
        """Write `host.json` so that a crash leaves the old one or the new one."""
        new = root / "host.json.new"
        new.write_text(json.dumps(asdict(self), indent=2) + "\n")
        new.chmod(0o600)
        new.replace(root / "host.json")


def load_config(root: Path) -> HostConfig:
    """Read `host.json`, of this version or an earlier one. ConfigError, also if there is none."""
    file = root / "host.json"
    try:
        values = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{root} is no mail server yet: run init first") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON: {error}") from error
    if not isinstance(values, dict) or "hostname" not in values:
        raise ConfigError(f"{file} names no hostname")
    types = {field.name: field.type for field in fields(HostConfig)}
    for name, value in values.items():
        if name not in types:
            raise ConfigError(f"host.json: there is no setting {name}")
        _must(type(value).__name__ == types[name], name)
    return HostConfig(**_of_today(values))


def _of_today(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an earlier version wrote because it had nothing else, and is in the way now.

    What it did not know yet, or is left out, is what a new server has.
    """
    if "submission_port" in values:
        return values
    return {name: value for name, value in values.items() if _BEFORE_SENDING.get(name) != value}


def _listenable(text: str) -> bool:
    return text == "*" or _address(text)


def _port_range(text: str) -> bool:
    match = _PORTS.match(text)
    return match is not None and 1024 <= int(match[1]) <= int(match[2]) <= 65535


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _networks(text: str) -> bool:
    """Say whether `text` is a list of networks, each without bits beyond its prefix."""
    try:
        for network in filter(None, text.split(",")):
            ipaddress.ip_network(network)
    except ValueError:
        return False
    return True


def _zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


def _must(fact: bool, setting: str) -> None:
    if not fact:
        raise ConfigError(f"host.json: {setting} has a value the servers cannot use")
