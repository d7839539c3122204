"""`make run` for real: everything comes up, answers, and is gone afterwards.

Each test starts the whole of it on free ports and a directory of its own.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from mailhost.webmail.asking import alive, serves
from standalone import place, processes
from standalone.place import HOST, Ports, mailhost_root, setting
from tests.earlier import make_earlier
from tests.servers import wait_for

ROOT = Path(__file__).resolve().parents[2]
READY = "PLUSMAIL is ready."
READY_SECONDS = 330
END_SECONDS = 60

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's master starts only as root")


class Running:
    """One `python -m standalone`, and what it has printed so far."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "standalone"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while READY not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < until, self.output
            time.sleep(0.1)

    def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        os.killpg(self.process.pid, signum)
        return self.wait_ended()

    def wait_ended(self) -> int:
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output) from None
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()
        return status


def users_of(var: Path) -> dict[int, str]:
    """Return the processes that have this directory in command line, environment or open files."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            files = [str(path.readlink()) for path in (entry / "fd").iterdir()]
            if bytes(var) in words or any(file.startswith(str(var)) for file in files):
                found[pid] = words[:200].replace(b"\0", b" ").decode(errors="replace")
    found.pop(os.getpid(), None)
    return found


@pytest.fixture
def var() -> Iterator[Path]:
    # Not tmp_path: the mail servers' users cannot reach it, and it is too long for sockets.
    directory = Path(tempfile.mkdtemp(prefix="plusmail-", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory / "v"
    shutil.rmtree(directory)


@pytest.fixture
def ports() -> Ports:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server((HOST, 0))) for _ in fields(Ports)]
        return Ports(*(listener.getsockname()[1] for listener in listeners))


@pytest.fixture
def start(var: Path, ports: Ports) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(**settings: str) -> Running:
        chosen = {setting(name): str(p) for name, p in ports.by_name(with_servers=True).items()}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        started.append(Running({**kept, "PLUSMAIL_VAR": str(var), **chosen, **settings}))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            family = processes.descendants(running.process.pid)
            running.process.kill()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        running.wait_ended()


def greeting(port: int) -> bytes:
    with socket.create_connection((HOST, port), 10) as server:
        return server.makefile("rb").readline()


def status_of(port: int, path: str) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def manage(var: Path, *arguments: str) -> str:
    environ = place.environment(os.environ, var=var, ports=Ports(), with_servers=True)
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@needs_root
def test_everything_answers_and_ctrl_c_leaves_nothing_twice_over(
    start: Callable[..., Running], var: Path, ports: Ports
) -> None:
    """The second time on the data of an earlier version, as after an update."""
    running = start()
    running.wait_ready()
    assert status_of(ports.web, "/login/") == 200
    assert greeting(ports.smtp).startswith(b"220 ")
    assert greeting(ports.submission).startswith(b"220 ")
    assert "policy answers" in running.output
    assert greeting(ports.pop3).startswith(b"+OK")
    assert greeting(ports.imap).startswith(b"* OK")
    assert "webmail answers" in running.output
    assert alive(ports.webmail, 5)
    served = wait_for(lambda: serves(ports.webmail, ["example.com"])["example.com"], 60)
    assert served, running.output
    logins = (var / "demo-logins.txt").read_text()
    told = [ports.web, ports.smtp, ports.submission, ports.pop3]
    for text in (logins.splitlines()[0], *map(str, told)):
        assert text in running.output
    assert len(users_of(var)) > 10

    assert running.end() == 0, running.output
    assert users_of(var) == {}

    make_earlier(mailhost_root(var))
    for app in (("accounts", "0002"), ("quota", "zero")):
        manage(var, "migrate", *app)
    again = start()
    again.wait_ready()
    assert re.search(r"\b[1-9]\d* difference\(s\) mended", again.output), again.output
    assert "0 difference(s) found" in manage(var, "reconcile")
    assert (var / "demo-logins.txt").read_text() == logins
    assert again.end(signal.SIGTERM) == 0, again.output
    assert users_of(var) == {}


def kill_part(running: Running, part: str) -> None:
    """Kill one of the parts, and see that all end with it and that it is said."""
    [words] = [line for line in running.lines if f"{part} started (pid=" in line]
    os.kill(int(words.rpartition("pid=")[2].rstrip(")\n")), signal.SIGKILL)
    assert running.wait_ended() == 1, running.output
    assert f"stopped: {part} ended by itself" in running.output


@needs_root
def test_kill_9_leaves_nothing_and_the_next_run_comes_up(
    start: Callable[..., Running], var: Path
) -> None:
    """Nor does the end of one part by itself, which ends all of the next run."""
    running = start()
    running.wait_ready()
    running.process.kill()
    until = time.monotonic() + END_SECONDS
    while users_of(var) and time.monotonic() < until:
        time.sleep(0.2)
    assert users_of(var) == {}
    again = start()
    again.wait_ready()
    kill_part(again, "postfix")
    assert users_of(var) == {}


def test_panel_runs_where_no_mail_server_can(
    start: Callable[..., Running], var: Path, ports: Ports
) -> None:
    running = start(WITHOUT_MAIL_SERVER="1")
    running.wait_ready()
    assert "no mail server" in running.output
    assert status_of(ports.web, "/login/") == 200
    for name in ("secret-key", "demo-logins.txt", "panel.sqlite3"):
        assert stat.S_IMODE((var / name).stat().st_mode) & 0o077 == 0, name
    kill_part(running, "redis")
    assert users_of(var) == {}


def test_port_in_use_is_one_clear_sentence(
    start: Callable[..., Running], var: Path, ports: Ports
) -> None:
    with socket.create_server((HOST, ports.web)):
        running = start(WITHOUT_MAIL_SERVER="1")
        assert running.wait_ended() == 1
    assert f"run: Port {ports.web} on 127.0.0.1, wanted for web, is in use" in running.output
    assert "Traceback" not in running.output
