"""The supervisor ends every process it started, however it is ended itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import wait_for

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60

# Runs the parts given as Python programs, each with the marker in its command line.
SUPERVISE = """
import os, sys
import honcho.manager
import standalone.supervisor
from standalone.parts import Part
from standalone.supervisor import Supervisor

marker, *programs = sys.argv[1:]
parts = [
    Part(f"part{number}", [sys.executable, "-c", program, marker], lambda: True, "nowhere")
    for number, program in enumerate(programs, 1)
]
honcho.manager.KILL_WAIT = standalone.supervisor.STRAGGLER_SECONDS = 1
supervisor = Supervisor(parts, environ=os.environ, on_ready=lambda: print("READY", flush=True))
status = supervisor.run()
print("FAILURE", supervisor.failure, flush=True)
sys.exit(status)
"""
STAYS = "import time; time.sleep(600)"
DIES = "import time; time.sleep(1); raise SystemExit(3)"
# Leaves its session and its parent, as daemons do, and ignores SIGTERM.
DAEMON = """
import os, signal, subprocess, sys, time
stays = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
if os.fork() == 0:
    subprocess.Popen([sys.executable, "-c", stays, sys.argv[1]], start_new_session=True)
    os._exit(0)
os.wait()
time.sleep(600)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None)\nwhile 1: time.sleep(1)"
)

Start = Callable[..., subprocess.Popen[str]]


def alive(marker: str) -> dict[int, str]:
    """Return the command lines of the parts that run, the supervisor's own left out."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if marker in words and SUPERVISE not in words:
            found[int(path.parent.name)] = " ".join(words)
    return found


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith(word):
            return text
    raise AssertionError(f"ended before {word}:\n{text}")


@pytest.fixture
def marker() -> str:
    return f"marker-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def start(marker: str) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*programs: str) -> subprocess.Popen[str]:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, marker, *programs],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(supervisor)
        return supervisor

    yield start
    for supervisor in started:
        supervisor.kill()
        for pid in alive(marker):
            os.kill(pid, signal.SIGKILL)
        supervisor.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_every_part(start: Start, marker: str, signum: signal.Signals) -> None:
    supervisor = start(STAYS, STAYS)
    read_until(supervisor, "READY")
    assert len(alive(marker)) == 2
    os.killpg(supervisor.pid, signum)  # as a terminal does
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert supervisor.returncode == 0, output
    assert alive(marker) == {}


def test_daemon_that_left_its_parent_is_ended_too(start: Start, marker: str) -> None:
    supervisor = start(DAEMON)
    read_until(supervisor, "READY")
    assert wait_for(lambda: len(alive(marker)) == 2, SECONDS), alive(marker)
    supervisor.send_signal(signal.SIGINT)
    supervisor.communicate(timeout=SECONDS)
    assert alive(marker) == {}


def test_part_that_ends_takes_all_with_it_and_is_named(start: Start, marker: str) -> None:
    supervisor = start(STAYS, DIES, STAYS)
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert "FAILURE part2 ended by itself (status 3)." in output
    assert supervisor.returncode == 1
    assert alive(marker) == {}


def test_end_of_a_part_is_seen_although_its_child_holds_its_output(
    start: Start, marker: str
) -> None:
    supervisor = start(STAYS, DAEMON.replace("time.sleep(600)\n", "raise SystemExit(4)\n"))
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert "FAILURE part2 ended by itself (status 4)." in output
    assert alive(marker) == {}


def test_even_kill_9_leaves_no_part(start: Start, marker: str) -> None:
    supervisor = start(STAYS, STAYS)
    read_until(supervisor, "READY")
    supervisor.kill()
    supervisor.wait(SECONDS)
    assert wait_for(lambda: alive(marker) == {}, SECONDS), alive(marker)


def test_part_deaf_to_sigterm_is_killed(start: Start, marker: str) -> None:
    supervisor = start(STUBBORN)
    read_until(supervisor, "READY")
    supervisor.send_signal(signal.SIGINT)
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert supervisor.returncode == 0, output
    assert alive(marker) == {}
