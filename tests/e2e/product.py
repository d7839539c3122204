"""The whole product, started part by part as separate processes, for proofs from end to end.

`product()` makes an installation of its own in a directory that Postfix's and Dovecot's users
can reach, starts the parts that a test asks for by the supervisor's own commands, and checks
afterwards that no process of it is left.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from redis import Redis

from mailhost import instance
from mailhost.config import HostConfig
from standalone import parts, place, processes
from standalone.parts import Part
from standalone.place import SERVER, Ports
from tests.servers import MailServer, free_ports, sink, wait_for

ROOT = Path(__file__).resolve().parents[2]
SOAK = bool(os.environ.get("PLUSMAIL_SOAK"))
PASSWORD = "correct-horse-battery"


class Product:
    """One installation: its settings, its processes, and the doors to it."""

    def __init__(
        self, var: Path, ports: Ports, environ: dict[str, str], mail: MailServer | None
    ) -> None:
        """Name an installation that was prepared."""
        self.var = var
        self.ports = ports
        self.environ = environ
        self._mail = mail
        known = [
            *parts.panel_parts(var, ports, environ),
            *parts.queue_parts(var, ports, environ),
        ]
        self._parts: dict[str, Part] = {part.name: part for part in known}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """The panel's address."""
        return self.environ["PANEL_URL"]

    @property
    def mail(self) -> MailServer:
        """The mail server; only where the installation has one."""
        assert self._mail
        return self._mail

    @property
    def database(self) -> Path:
        """The panel's SQLite file."""
        return self.var / "panel.sqlite3"

    @property
    def logins(self) -> dict[str, str]:
        """The passwords of the demo's logins, by login."""
        text = (self.var / "demo-logins.txt").read_text()
        return dict(re.findall(r"^(?:Operator|Customer) +(\S+) +(\S+)", text, re.MULTILINE))

    # Processes

    def start(self, *names: str, wait: bool = True) -> None:
        """Start parts (web, redis, worker, beat), and wait until each answers."""
        for name in names:
            with (self.var / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    self._parts[name].command,
                    cwd=ROOT,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        if wait:
            self.wait_for(*names)

    def wait_for(self, *names: str) -> None:
        """Wait until these parts answer."""
        for name in names:
            answers = self._worker_ready if name == "worker" else self._parts[name].answers
            assert wait_for(answers, 90), f"{name} does not answer\n{self.log(name)}"

    def _worker_ready(self) -> bool:
        """Whether a worker waits for tasks at this moment; quicker than Celery's ping."""
        with self._redis() as broker:
            return any(client["cmd"] == "brpop" for client in broker.client_list())

    def _redis(self) -> Redis:
        return Redis(unix_socket_path=str(place.redis_socket(self.var)))

    def stop(self, *names: str) -> None:
        """Ask parts to end, and wait until they have."""
        for name in names or tuple(reversed(self._running)):
            process = self._running.pop(name)
            process.terminate()
            process.wait(30)

    def kill(self, name: str, *, child: bool = False) -> None:
        """End a part by kill -9: all its processes, or (`child`) all but the first of them."""
        process = self._running[name]
        family = processes.descendants(process.pid)
        for pid in family if child else {process.pid, *family}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not child:
            del self._running[name]
            process.wait(10)

    def is_running(self, name: str) -> bool:
        """Whether a part that was started is still there."""
        return name in self._running and self._running[name].poll() is None

    def memory(self, name: str) -> int:
        """Return the most memory that a part's processes have taken so far, in MiB each, summed."""
        pid = self._running[name].pid
        return sum(_peak(one) for one in {pid, *processes.descendants(pid)}) // 1024

    def log(self, name: str) -> str:
        """Return what a part has printed so far."""
        path = self.var / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def flush_broker(self) -> None:
        """Empty Redis: every waiting message and every binding is gone."""
        with self._redis() as broker:
            broker.flushall()

    def waiting(self, queue: str) -> int:
        """Return how many messages of a queue nobody has taken."""
        with self._redis() as broker:
            return int(broker.llen(queue))

    def send(self, task: str, *arguments: Any, queue: str) -> None:
        """Send a task as any program may: by Celery's own command."""
        self.run(
            *parts.python("celery"), "-A", "plusmail", "call", task,
            "--args", json.dumps(arguments), "--queue", queue,
        )  # fmt: skip

    # Commands

    def run(self, *command: str, typed: str = "", fails: bool = False) -> str:
        """Run a program to its end as the operator would; return what it printed."""
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environ,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert bool(done.returncode) == fails, f"{' '.join(command)}\n{printed}"
        return printed

    def manage(self, *arguments: str, typed: str = "", fails: bool = False) -> str:
        """Run a management command; `fails` is what its exit code shall say."""
        return self.run(sys.executable, "manage.py", *arguments, typed=typed, fails=fails)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a management command and return while it runs."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # The panel's database, looked at from outside

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows of the panel's database."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(query, values).fetchall()

    def execute(self, statement: str, *values: Any) -> int:
        """Change rows behind the panel's back, such as the clock would; return how many."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            return connection.execute(statement, values).rowcount

    def states(self) -> dict[str, int]:
        """Return how many changes are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM propagation_change GROUP BY state"))

    def open_changes(self) -> int:
        """Return how many changes are pending or being applied."""
        states = self.states()
        return states.get("pending", 0) + states.get("applying", 0)

    def settled(self, seconds: float = 60.0) -> bool:
        """Wait until no change is open."""
        return wait_for(lambda: not self.open_changes(), seconds)

    def make_due(self, count: int = -1) -> None:
        """Let time pass for the oldest pending changes, all by default."""
        self.execute(
            "UPDATE propagation_change SET due_at = made_at WHERE id IN (SELECT id FROM"
            " propagation_change WHERE state = 'pending' AND due_at > made_at ORDER BY id LIMIT ?)",
            count,
        )

    def move_links(self, before: str) -> None:
        """Let what the demo's list says of leaving it lead to this panel's own address."""
        self.execute("UPDATE propagation_change SET after = replace(after, ?, ?)", before, self.url)

    def applying(self) -> bool:
        """Whether a process holds the mail server's lock at this moment (proc_locks(5))."""
        inode = (self.mail.root / "apply.lock").stat().st_ino
        with open("/proc/locks") as locks:  # noqa: PTH123 (read thousands of times)
            return any(f":{inode} " in line and "->" not in line for line in locks)

    def left(self) -> dict[int, str]:
        """Return the processes that have this installation in command, settings or open files."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                files = [str(path.readlink()) for path in (entry / "fd").iterdir()]
                if bytes(self.var) in words or any(str(self.var) in file for file in files):
                    found[int(entry.name)] = words[:200].replace(b"\0", b" ").decode()
        found.pop(os.getpid(), None)
        return found


def _peak(pid: int) -> int:
    """Return a process's peak of memory in KiB (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)[0])


@cache
def _prepared() -> Path:
    """Return a directory with what every installation begins with, made once.

    That is a migrated database (empty.sqlite3), one with the demo's data, and static files.
    """
    directory = Path(tempfile.mkdtemp(prefix="plusmail-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    environ = place.environment(
        {**_given(), "PANEL_URL": _prepared_url()},
        var=directory,
        ports=Ports(*free_ports(len(fields(Ports)))),
        with_servers=False,
    )
    database = directory / "panel.sqlite3"
    for command in (["collectstatic", "--noinput"], ["migrate"], ["load_demo"]):
        if command == ["load_demo"]:
            shutil.copy(database, directory / "empty.sqlite3")
        subprocess.run(
            [sys.executable, "manage.py", *command, "--verbosity", "0"],
            cwd=ROOT, env=environ, check=True, capture_output=True,
        )  # fmt: skip
        if database.exists():
            # Everything into the one file that is copied.
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return directory


def _prepared_url() -> str:
    """Return the panel's address while the demo's data is loaded."""
    return "http://prepared.plusmail.test"


def _given() -> dict[str, str]:
    """Return what the parts may have of this process's environment."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@contextmanager
def product(
    *start: str,
    mail: bool = True,
    demo: bool = True,
    delay: int = 6,
    faultless: bool = True,
    **settings: str,
) -> Iterator[Product]:
    """Make an installation, start these parts of it, and end everything afterwards.

    `mail` runs a Postfix and a Dovecot for it, `demo` loads the demo's data and has it
    applied, `delay` is PROPAGATION_DELAY in seconds; `settings` go into the environment.
    A page that ended in an error fails the test, unless it is not `faultless` on purpose.
    """
    base = Path(tempfile.mkdtemp(prefix="plusmail-", dir="/tmp"))
    base.chmod(0o711)
    ports = Ports(*free_ports(len(fields(Ports))))
    environ = place.environment(
        {
            **_given(),
            "PROPAGATION_DELAY": str(delay),
            "SWEEP_SECONDS": "2",
            "LANG": "C.UTF-8",
            **settings,
        },
        var=base,
        ports=ports,
        with_servers=mail,
    )
    for name in ("redis", "beat"):
        (base / name).mkdir(mode=0o700)
    database = "panel.sqlite3" if demo else "empty.sqlite3"
    shutil.copy(_prepared() / database, base / "panel.sqlite3")
    if demo:
        shutil.copy(_prepared() / "demo-logins.txt", base)
    (base / "static").symlink_to(_prepared() / "static")
    with _mail_server(base, ports) if mail else contextlib.nullcontext() as server:
        made = Product(base, ports, environ, server)
        try:
            if demo:
                made.move_links(_prepared_url())
            made.start(*start, wait=False)
            if demo and mail:
                made.manage("apply_changes")
                made.manage("check_servers")
            made.wait_for(*start)
            yield made
        finally:
            made.stop()
    left, web = wait_for_none(made.left), made.log("web")
    shutil.rmtree(base, ignore_errors=True)
    assert not left, f"still running: {left}"
    _before, error, after = web.partition(" ERROR ")
    assert not error or not faultless, after[:5000]


@contextmanager
def _mail_server(base: Path, ports: Ports) -> Iterator[MailServer]:
    """Run the installation's mail server on its ports."""
    (base / "mailhost").mkdir(mode=0o755)
    with sink() as outside:
        config = HostConfig(
            hostname=SERVER,
            smtp_port=ports.smtp,
            submission_port=ports.submission,
            submissions_port=ports.submissions,
            policy_port=ports.policy,
            pop3_port=ports.pop3,
            pop3s_port=ports.pop3s,
            imap_port=ports.imap,
            imaps_port=ports.imaps,
            panel_imap_port=ports.panel_imap,
            ftp_port=ports.ftp,
            sftp_port=ports.sftp,
            ssh_port=0,
            slow_guessing=False,
            client_names=False,
            outbound=f"smtp:[127.0.0.1]:{outside.port}",
        )
        server = MailServer(place.mailhost_root(base), config, outside)
        try:
            instance.init(server.root, config)
            server.start()
            yield server
        finally:
            server.stop()
            server.host.close()


def wait_for_none(look: Any, seconds: float = 10.0) -> Any:
    """Return the first empty value of `look`, or its last one when time is up."""
    end = time.monotonic() + seconds
    while (value := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def lines_of(text: str, words: Sequence[str]) -> list[str]:
    """Return the lines that have all these words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]
