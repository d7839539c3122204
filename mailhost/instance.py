"""A private Postfix, Dovecot, ProFTPD and our daemons: made, run and asked below one root.

Nothing outside the root is written and no system service is touched. Postfix's
master has to be started by root; everything else follows from that.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.x509.oid import NameOID

from mailhost import homes, locks
from mailhost.config import HostConfig, load_config
from mailhost.dovecot import Doveadm
from mailhost.errors import HostError
from mailhost.events.daemon import GREETING
from mailhost.events.database import EventDatabase
from mailhost.ftp import Ftp
from mailhost.maps import Maps
from mailhost.panel_imap import make_door
from mailhost.paths import Paths, suitable_root
from mailhost.processes import OWN_MODULES, master
from mailhost.render import RenderError, dovecot_version, render
from mailhost.ssh import control, sandbox
from mailhost.ssh.trial import trial
from mailhost.store import Store
from mailhost.usage.database import UsageDatabase
from mailhost.usage.dict import NOTHING, PING
from mailhost.webmail import places
from mailhost.webmail.asking import alive

#: In the order to start them: without the policy daemon Postfix lets nobody send.
SERVERS = ("policy", "lists", "usage", "events", "postfix", "dovecot", "ftp", "ssh", "webmail")
#: Seconds a server gets to end by itself before it is killed.
PATIENCE = 10.0
#: What proftpd-mod-crypto and proftpd-mod-sqlite bring.
FTP_MODULES = [Path("/usr/lib/proftpd") / f"mod_{name}.so" for name in ("sftp", "sql_sqlite")]


# Servers without which mail works, and what is said of one that has no port.
_SWITCHED_OFF = {
    "ftp": "FTP is switched off here: init --ftp-port or --sftp-port gives ports.",
    "ssh": "SSH is switched off here: init --ssh-port gives a port.",
    "webmail": "Webmail is switched off here: init --webmail-port gives a port.",
}
_EARLIER = "%s was made by an earlier version: run init again first."


class InstanceError(HostError):
    """The servers cannot be made or run here; the message says why and what to do."""


def missing_programs() -> str | None:
    """Say in one sentence what has to be installed before a server can run, or None."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    names = ("postfix", "postmap", "dovecot", "doveadm", "sievec")
    lacking = [name for name in names if not shutil.which(name, path=path)]
    if lacking:
        packages = "postfix, postfix-lmdb, dovecot-core, dovecot-sieve"
        return f"Not installed: {', '.join(lacking)} (Debian: {packages})."
    try:
        dovecot_version()
    except RenderError as error:
        return str(error)
    if os.geteuid() != 0:
        return "Postfix's master has to be started by root."
    return None


def missing_for(server: str) -> str | None:
    """Say in one sentence what has to be installed before this server can run, or None.

    FTP alone needs ProFTPD, SSH Alpine and a sandbox for it, and webmail Roundcube: mail works
    without them.
    """
    if server == "ssh":
        return _missing_for_ssh()
    if server == "webmail":
        lacking = places.missing()
        return lacking or (None if os.geteuid() == 0 else "Webmail has to be started by root.")
    if server != "ftp":
        return missing_programs()
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if not shutil.which("proftpd", path=path) or not all(module.exists() for module in FTP_MODULES):
        return (
            "Not installed: ProFTPD (Debian: proftpd-core, proftpd-mod-crypto, proftpd-mod-sqlite)."
            " Mail works without it; init --ftp-port 0 --sftp-port 0 says that none is wanted."
        )
    return None if os.geteuid() == 0 else "ProFTPD has to be started by root."


def _missing_for_ssh() -> str | None:
    if os.geteuid() != 0:
        return "The SSH service has to be started by root."
    if problem := sandbox.missing() or trial():
        return f"{problem} Mail works without SSH; init --ssh-port 0 says that none is wanted."
    return None


def wanted(config: HostConfig) -> tuple[str, ...]:
    """Return which of SERVERS are to run: ftp, ssh and webmail only where they have a port."""
    ports = {
        "ftp": config.ftp_port or config.sftp_port,
        "ssh": config.ssh_port,
        "webmail": config.webmail_port,
    }
    return tuple(server for server in SERVERS if ports.get(server, True))


def init(root: Path, config: HostConfig) -> None:
    """Make directories, store, maps, configuration and a self-signed certificate.

    Harmless to repeat: what is there stays, the configuration is rendered anew.
    """
    if problem := suitable_root(root) or missing_programs():
        raise InstanceError(problem)
    paths = Paths(root.absolute())
    _make_directories(paths, config)
    config.save(paths.root)
    _make_policy_key(paths.policy_key)
    if not (paths.tls / "server.pem").exists():
        _self_sign(paths.tls / "server.pem", config.hostname)
    _make_host_keys(paths)
    make_door(paths, config)
    render(paths.root, config)
    UsageDatabase(paths.usage_db).close()
    EventDatabase(paths.events_db).close()
    with closing(Store(paths.store)) as store:
        maps = Maps(paths)
        for name in maps.missing():
            maps.rebuild(name, store.lines.source(name))
        homes_root = homes.root_of(paths.root, config)
        for _, home in store.projections.homes():
            homes.make(homes_root, config, home)
        if not paths.ftp_accounts.exists():
            users = {user.name: user for user in store.ftp.all()}
            Ftp(paths).put(users, users)
    maps.ensure_sni()


def _make_directories(paths: Paths, config: HostConfig) -> None:
    try:
        account, setgid = pwd.getpwnam("postfix"), grp.getgrnam("postdrop").gr_gid
    except KeyError as error:
        raise InstanceError("There is no user postfix: install Debian's package.") from error
    postfix = account.pw_uid
    owners: dict[Path, tuple[int, int, int]] = {
        paths.root: (0, 0, 0o711),
        paths.root / "etc": (0, 0, 0o755),
        paths.root / "store": (0, 0, 0o700),
        paths.root / "tmp": (0, 0, 0o700),
        paths.postfix: (0, 0, 0o755),
        paths.dovecot: (0, 0, 0o755),
        # Whose mail goes where, and who wrote to whom: for the servers' eyes only.
        paths.maps: (0, account.pw_gid, 0o750),
        paths.log: (0, account.pw_gid, 0o750),
        paths.tls: (0, 0, 0o700),
        paths.root / "certs": (0, 0, 0o700),
        paths.root / "homes": (0, 0, 0o711),
        paths.run: (0, 0, 0o755),
        paths.queue: (0, 0, 0o755),
        # Dovecot puts its sockets here, so it has to be there before Dovecot starts.
        paths.queue / "private": (postfix, 0, 0o700),
        paths.queue / "public": (postfix, setgid, 0o710),
        paths.queue / "maildrop": (postfix, setgid, 0o730),
        paths.data: (postfix, 0, 0o711),
        paths.root / "state": (0, 0, 0o755),
        paths.mail: (config.mail_uid, config.mail_gid, 0o700),
        paths.trash: (0, 0, 0o700),
        paths.policy: (0, 0, 0o700),
        paths.lists: (0, 0, 0o700),
        paths.archive: (0, 0, 0o700),
        paths.usage: (0, 0, 0o700),
        paths.events: (0, 0, 0o700),
        paths.ftp: (0, 0, 0o700),
        **_webmail_directories(paths, config),
        paths.ssh: (0, 0, 0o700),
        paths.replies: (0, config.mail_gid, 0o750),
    }
    for path, (user, group, mode) in owners.items():
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, user, group)
        path.chmod(mode)


def _webmail_directories(paths: Paths, config: HostConfig) -> dict[Path, tuple[int, int, int]]:
    """Return webmail's: it passes through them, and writes into a few."""
    user, group = config.webmail_uid, config.webmail_gid
    closed, own = (0, group, 0o750), (user, group, 0o700)
    etc = paths.webmail / "etc"
    below = {"run": own, "log": own, "tmp": own, "sites": (0, group, 0o711), "limits": closed}
    roots = {"owners": (0, 0, 0o700), "kept": (0, 0, 0o700)}
    return {
        paths.webmail: closed,
        etc: closed,
        **{etc / name: closed for name in ("roundcube", "plugins", "pages")},
        **{paths.webmail / name: owner for name, owner in (below | roots).items()},
    }


def _make_policy_key(target: Path) -> None:
    """Write a new secret, unless there is one."""
    with suppress(FileExistsError):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")


def _make_host_keys(paths: Paths) -> None:
    """Write the keys by which SFTP and SSH clients know the server, unless there are some."""
    ed25519_key, ecdsa_key = paths.ftp / "host_ed25519", paths.ftp / "host_ecdsa"
    for file in (ed25519_key, paths.ssh_host_key):
        if not file.exists():
            _write_key(file, ed25519.Ed25519PrivateKey.generate(), PrivateFormat.OpenSSH)
    if not ecdsa_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write_key(ecdsa_key, key, PrivateFormat.TraditionalOpenSSL)


def _write_key(target: Path, key: PrivateKeyTypes, form: PrivateFormat) -> None:
    content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    new = target.with_name(target.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(target)


def _self_sign(target: Path, hostname: str) -> None:
    """Write key and certificate in one file, as smtpd_tls_chain_files wants them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


_ENDING = (signal.SIGTERM, signal.SIGINT)


class _Told(Exception):
    """A signal asked this process to end."""


class _Ending:
    """What the first SIGTERM or SIGINT does. Later ones must not get in the way of the end.

    A supervisor that is killed sends several, one for each of its processes above this one.
    """

    def __init__(self) -> None:
        self.told = False
        self.serving = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        self.told = True
        # Before it serves, its program may be half started and nobody's to end.
        if self.serving:
            raise _Told


def run(root: Path, server: str) -> int:
    """Run one of SERVERS until it ends or this process gets SIGTERM or SIGINT.

    What an earlier run of this root left behind is ended first. Returns the
    server's exit code, 0 after a signal; no process of the server is left then.
    """
    paths = Paths(root.absolute())
    config = load_config(paths.root)
    if server not in wanted(config):
        raise InstanceError(_SWITCHED_OFF[server])
    if problem := missing_for(server):
        raise InstanceError(problem)
    if server == "ftp" and not paths.ftp_conf.exists():
        raise InstanceError(_EARLIER % paths.root)
    if server in OWN_MODULES and not _made(paths, server):
        raise InstanceError(_EARLIER % paths.root)
    with _only_one(paths, server):
        stop(root, server)
        ending = _Ending()
        previous = [signal.signal(number, ending) for number in _ENDING]
        process = subprocess.Popen(
            _command(paths, server), cwd=_directory(paths, server), start_new_session=True
        )
        try:
            ending.serving = True
            return 0 if ending.told else process.wait()
        except _Told:
            return 0
        finally:
            for number in _ENDING:
                signal.signal(number, signal.SIG_IGN)
            if server == "postfix":
                # The script that started the master would only remark on its end.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            stop(root, server)
            _end_group(process.pid, reap=process)
            # A master that was only just starting had no pid file yet.
            stop(root, server)
            for number, handler in zip(_ENDING, previous, strict=True):
                signal.signal(number, handler)


def _made(paths: Paths, server: str) -> bool:
    """Say whether `init` of this version has made what one of our own programs needs."""
    made = {
        "usage": paths.usage,
        "events": paths.events,
        "ssh": paths.ssh_host_key,
        "webmail": paths.webmail / "etc",
    }
    return made.get(server, paths.policy_key).exists()


def stop(root: Path, server: str) -> bool:
    """End a running server and all its processes; return whether it was running."""
    paths = Paths(root.absolute())
    leader = master(paths, server)
    if leader is None:
        return False
    _end_group(leader)
    return True


def running(root: Path, server: str) -> bool:
    """Say whether the server's master process is there."""
    return master(Paths(root.absolute()), server) is not None


def problem_of(root: Path, server: str, timeout: float = 5.0) -> str:
    """Say why a server does not answer on its ports, or "" if it does.

    The words follow the server's name ("is not running"). `timeout`, in seconds, is
    for each thing asked.
    """
    config = load_config(root.absolute())
    if server not in wanted(config):
        return ""
    if not running(root, server):
        lacking = missing_for(server) if server in _SWITCHED_OFF else None
        return lacking or "is not running"
    if server == "policy":
        return _policy_problem(Paths(root.absolute()), config, timeout)
    if server == "lists":
        return _lists_problem(Paths(root.absolute()), timeout)
    if server == "usage":
        return _usage_problem(Paths(root.absolute()), timeout)
    if server == "events":
        return _events_problem(Paths(root.absolute()), timeout)
    if server == "webmail":
        return "" if alive(config.webmail_port, timeout) else "gives no answer by HTTP"
    if server == "postfix":
        listen, greeting = config.smtp_listen, b"220 "
        ports = [config.smtp_port, config.submission_port]
    elif server == "ssh":
        if not control.answers(Paths(root.absolute()), timeout):
            return "does not answer on its socket"
        return _greets(config.login_listen, [config.ssh_port], b"SSH-2.0-", timeout)
    elif server == "ftp":
        return _greets(config.login_listen, [config.ftp_port], b"220 ", timeout) or _greets(
            config.login_listen, [config.sftp_port], b"SSH-2.0-", timeout
        )
    else:
        listen, ports, greeting = config.login_listen, [config.pop3_port], b"+OK"
    if problem := _greets(listen, ports, greeting, timeout):
        return problem
    if server == "dovecot" and not Doveadm(Paths(root.absolute())).alive(timeout):
        return "does not answer doveadm"
    return ""


def _greets(listen: str, ports: list[int], greeting: bytes, timeout: float) -> str:
    """Say why a server does not greet on one of its ports, or "" if it does; 0 is no port."""
    host = "127.0.0.1" if listen == "*" else listen
    for port in filter(None, ports):
        try:
            with socket.create_connection((host, port), timeout) as connection:
                connection.settimeout(timeout)
                if not connection.recv(512).startswith(greeting):
                    return f"gives no greeting on {host} port {port}"
        except OSError as error:
            return f"does not answer on {host} port {port} ({_reason(error)})"
    return ""


def _policy_problem(paths: Paths, config: HostConfig, timeout: float) -> str:
    """Say why the policy daemon does not answer Postfix or Dovecot, or "" if it does."""
    # A question that is about no mail. SMTPD_POLICY_README: an answer ends with an empty line.
    postfixs = b"request=smtpd_access_policy\npolicy_context=status\n\n"
    port = ("127.0.0.1", config.policy_port)
    questions: list[tuple[str, int, str | tuple[str, int], bytes, bytes]] = [
        ("its socket", socket.AF_UNIX, str(paths.policy_socket), postfixs, b"action="),
        (f"port {port[1]}", socket.AF_INET, port, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/"),
    ]
    for where, family, address, question, answer in questions:
        try:
            with socket.socket(family) as connection:
                connection.settimeout(timeout)
                connection.connect(address)
                connection.sendall(question)
                if not connection.recv(512).startswith(answer):
                    return f"gives no answer on {where}"
        except OSError as error:
            return f"does not answer on {where} ({_reason(error)})"
    return ""


def _lists_problem(paths: Paths, timeout: float) -> str:
    """Say why the lists' daemon does not greet Postfix, or "" if it does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(paths.lists_socket))
            if not connection.recv(512).startswith(b"220 "):
                return "gives no greeting on its socket"
    except OSError as error:
        return f"does not answer on its socket ({_reason(error)})"
    return ""


def _usage_problem(paths: Paths, timeout: float) -> str:
    """Say why the usage daemon does not answer Dovecot, or "" if it does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(paths.usage_socket))
            connection.sendall(PING)
            if not connection.recv(512).startswith(NOTHING):
                return "gives no answer on its socket"
    except OSError as error:
        return f"does not answer on its socket ({_reason(error)})"
    return ""


def _events_problem(paths: Paths, timeout: float) -> str:
    """Say why the events daemon does not say how far it is, or "" if it does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(paths.events_socket))
            if not connection.recv(512).startswith(GREETING):
                return "gives no answer on its socket"
    except OSError as error:
        return f"does not answer on its socket ({_reason(error)})"
    return ""


def _reason(error: OSError) -> str:
    """Return why a connection failed, without the number that Python puts before it."""
    return (error.strerror or str(error)).lower()


def wait_until_answering(root: Path, server: str, seconds: float = 20.0) -> str:
    """Wait until a server just started answers; return "" or why it still does not."""
    end = time.monotonic() + seconds
    while (problem := problem_of(root, server)) and time.monotonic() < end:
        time.sleep(0.1)
    return problem


def _command(paths: Paths, server: str) -> list[str]:
    if server == "postfix":
        return ["postfix", "-c", str(paths.postfix), "start-fg"]
    if server in OWN_MODULES:
        return [sys.executable, "-m", OWN_MODULES[server], str(paths.root)]
    if server == "ftp":
        return ["proftpd", "-n", "-q", "-c", str(paths.ftp_conf)]
    return ["dovecot", "-F", "-c", str(paths.dovecot_conf)]


def ports_of_others(root: Path, config: HostConfig) -> list[int]:
    """Return which of Postfix's ports something else listens on; none while Postfix runs here.

    Two Postfix share a port without a word (SO_REUSEPORT), and each gets a part of what comes.
    """
    if running(root, "postfix"):
        return []
    mail = {config.smtp_port, config.submission_port, config.submissions_port}
    here = {config.reply_port}
    if config.webmail_port:
        here.add(config.webmail_submission_port)
    places = [(config.smtp_listen, port) for port in mail if port]
    places += [("127.0.0.1", port) for port in here]
    return sorted(port for listen, port in places if _is_taken(listen, port))


def _is_taken(listen: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with socket.socket(family) as trial_socket:
        # As Postfix does, beside what it does to share.
        trial_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial_socket.bind(("" if listen == "*" else listen, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _directory(paths: Paths, server: str) -> Path | None:
    """Return where a server is started; ProFTPD stays there, and is known by it."""
    return paths.ftp if server == "ftp" else None


@contextmanager
def _only_one(paths: Paths, server: str) -> Iterator[None]:
    """Keep two `run` of one server apart; the lock dies with the process that holds it."""
    lock = locks.take(paths.root / f"run-{server}.lock")
    if lock is None:
        raise InstanceError(f"{server} of {paths.root} is already running.")
    try:
        yield
    finally:
        os.close(lock)


def _end_group(leader: int, reap: subprocess.Popen[bytes] | None = None) -> None:
    """Ask all processes of a group to end, and end those that are still there after a while."""
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
        end = time.monotonic() + patience
        with suppress(ProcessLookupError):
            # The leader alone is asked: it ends its children in order.
            (os.kill if number == signal.SIGTERM else os.killpg)(leader, number)
        while time.monotonic() < end:
            if reap:
                reap.poll()
            if not _group_alive(leader):
                return
            time.sleep(0.02)


def _group_alive(leader: int) -> bool:
    """Say whether a process of this group still runs; one that only waits to be reaped does not."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] not in "ZX":
            return True
    return False
