"""Where a stand-alone installation keeps its files, which ports it takes, and its settings.

Everything is below one directory, called VAR: `var/` in the checkout, unless PLUSMAIL_VAR names
another or the mail servers' own users could not reach it there.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

CHECKOUT = Path(__file__).resolve().parent.parent
SERVER = "mail1.plusmail.test"
HOST = "127.0.0.1"
OUTSIDE_USER = "nobody"
MARKER = ".plusmail-standalone"


class Refused(Exception):
    """`make run` cannot go on; the text is one sentence for the person who started it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports on 127.0.0.1; the variable for `pop3s`, say, is POP3S_PORT."""

    web: int = 8000
    smtp: int = 2525
    submission: int = 2587
    submissions: int = 2465
    pop3: int = 2110
    pop3s: int = 2995
    imap: int = 2143
    imaps: int = 2993
    ftp: int = 2121
    sftp: int = 2122
    ssh: int = 2022
    panel_imap: int = 2144
    webmail: int = 2180
    webmail_imap: int = 2145
    webmail_submission: int = 2588
    policy: int = 2400
    reply: int = 2589
    outside: int = 2526

    @classmethod
    def chosen(cls, environ: Mapping[str, str]) -> Self:
        """Return the ports that the environment asks for; Refused if one is no port."""
        wanted = {}
        for name in (field.name for field in fields(cls)):
            if text := environ.get(setting(name), ""):
                if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
                    raise Refused(f"{setting(name)}={text} is no port: it takes 1 to 65535.")
                wanted[name] = int(text)
        return cls(**wanted)

    def by_name(self, *, with_servers: bool) -> dict[str, int]:
        """Return the ports that will be taken, the mail servers' among them or not."""
        return asdict(self) if with_servers else {"web": self.web}

    def shown(self) -> dict[str, int]:
        """Return the ports that customers are told, for their programs."""
        mail = ("pop3", "pop3s", "imap", "imaps", "submission", "submissions")
        return {name: getattr(self, name) for name in (*mail, "ftp", "sftp", "ssh")}

    def check_free(self, *, with_servers: bool) -> None:
        """Raise Refused for the first port that something else has, or that is wanted twice."""
        wanted = self.by_name(with_servers=with_servers)
        for name, port in wanted.items():
            if [*wanted.values()].count(port) > 1:
                same = " and ".join(setting(other) for other in wanted if wanted[other] == port)
                raise Refused(f"{same} both ask for port {port}.")
            if reason := why_not_free(port):
                other = port + 10_000 if port < 50_000 else port - 10_000
                raise Refused(
                    f"Port {port} on {HOST}, wanted for {name}, {reason}: "
                    f"choose another, for example `make run {setting(name)}={other}`."
                )


#: What steers `make run` itself, apart from the ports; `.env.example` explains each.
SWITCHES = ("WITHOUT_MAIL_SERVER",)


def settings() -> set[str]:
    """Return the names of all settings, which `.env.example` documents."""
    documented = (CHECKOUT / ".env.example").read_text()
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", documented, re.MULTILINE))


def setting(port_name: str) -> str:
    """Return the environment variable that moves a port."""
    return f"{port_name.upper()}_PORT"


def why_not_free(port: int) -> str:
    """Return "" if this process may listen on the port, else why not."""
    with socket.socket() as listener:
        # As every server here does: a connection of the last run may still linger in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error})"
    return ""


def far_from_the_checkout(checkout: Path = CHECKOUT) -> Path:
    """Return the directory that stands in for a checkout's `var/`."""
    short = hashlib.sha256(bytes(checkout)).hexdigest()[:8]
    return Path("/var/tmp") / f"plusmail-{short}"  # noqa: S108 - checked in prepare()


def prepare(var: Path) -> None:
    """Make VAR; Refused if it is a link, or another user's, or not ours to fill."""
    if not var.exists():
        var.mkdir(parents=True)
        var.chmod(0o755)  # the servers' users pass through it, whatever the umask
    status = var.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise Refused(
            f"{var} belongs to another user: remove it, or name a directory with PLUSMAIL_VAR."
        )
    if status.st_mode & 0o022:
        raise Refused(f"{var} can be written by other users: try `chmod go-w {var}`.")
    if not (var / MARKER).exists():
        if any(var.iterdir()):
            raise Refused(f"{var} holds something else: name another directory with PLUSMAIL_VAR.")
        (var / MARKER).write_text("Made by make run; make clean removes this directory.\n")


@contextlib.contextmanager
def alone_in(var: Path) -> Iterator[None]:
    """Hold VAR for this process; Refused if another supervisor has it."""
    with (var / "supervisor.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(
                f"It is running already, on the data in {var} (process {lock.read().strip()})."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def secret_key(var: Path) -> str:
    """Return the demo's secret key, made at the first call."""
    write_closed(var / "secret-key", secrets.token_urlsafe(50))
    return (var / "secret-key").read_text()


def write_closed(path: Path, text: str = "") -> None:
    """Make a file that its owner alone can read, unless it is there."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


def environment(
    given: Mapping[str, str], *, var: Path, ports: Ports, with_servers: bool
) -> dict[str, str]:
    """Return the environment of every part: what the caller gave wins over the demo's values.

    A `.env` file is left unread: it may name a production database, and demo data would go there.
    """
    ours = {
        "DEMO": "1",
        "PANEL_URL": f"http://{HOST}:{ports.web}",
        **{f"{setting(name)}_SHOWN": str(port) for name, port in ports.shown().items()},
        # Browsers know every name below "localhost" as this machine.
        "WEBMAIL_URL": f"http://{{domain}}.localhost:{ports.webmail}/webmail/",
        "PROPAGATION_DELAY": "60",
        "SWEEP_SECONDS": "10",
    }
    if with_servers:
        # Ends in the files of make_outside, like all mail that leaves.
        ours["EMAIL_URL"] = f"smtp://{HOST}:{ports.outside}"
        ours["DEFAULT_FROM_EMAIL"] = "PLUSMAIL <support@plusmail.test>"
        ours["CONTACT_ADDRESS"] = "support@plusmail.test"
    if "SECRET_KEY" not in given:
        ours["SECRET_KEY"] = secret_key(var)
    fixed = {
        "DJANGO_SETTINGS_MODULE": "plusmail.settings",
        "IGNORE_DOTENV": "1",
        "MAILHOST_ROOT": str(var / "mailhost") if with_servers else "",
        "PLUSMAIL_VAR": str(var),
        "PYTHONUNBUFFERED": "1",
        "REDIS_URL": f"unix://{redis_socket(var)}",
    }
    if "SUDO_UID" in given:
        # Root must leave no files in a checkout that is another user's.
        fixed["PYTHONDONTWRITEBYTECODE"] = "1"
    return {**ours, **given, **fixed}


def redis_socket(var: Path) -> Path:
    """Return where the private Redis listens; it has no TCP port."""
    return var / "redis" / "redis.sock"


def outside_mail(var: Path) -> Path:
    """Return where mail for other domains ends, a file each: it never reaches the Internet."""
    return var / "outside"


def make_outside(var: Path) -> None:
    """Make the directory of that mail, for the user who writes it."""
    outside_mail(var).mkdir(exist_ok=True)
    shutil.chown(outside_mail(var), OUTSIDE_USER)
    outside_mail(var).chmod(0o700)


def mailhost_root(var: Path) -> Path:
    """Return the directory of the demo's mail server."""
    return var / "mailhost" / SERVER
