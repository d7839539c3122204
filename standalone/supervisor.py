"""One supervisor for all parts: honcho's, made to end its family completely and in order.

Promises: if one part ends, all end and the first is named; SIGINT, SIGTERM and SIGHUP end every
process started, grandchildren that left their process group included; even kill -9 of the
supervisor does. Redis goes last, so that a worker can finish what it is doing.
"""

import contextlib
import os
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

import honcho.manager
import honcho.process

from standalone import processes
from standalone.parts import REDIS, Part

READY_SECONDS = 300.0
# What is left when all parts have ended gets this long between SIGTERM and SIGKILL.
STRAGGLER_SECONDS = 10.0
# What a worker in the middle of a batch may take to finish it.
honcho.manager.KILL_WAIT = 30


class _Signals:
    """How parts are told to end: politely only the leader, which ends its own children.

    A part may have ended by itself a moment ago, before its watcher could report it.
    """

    def terminate(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


class _Process(honcho.process.Process):  # type: ignore[misc]
    """honcho's watcher of one part, a process of its own.

    Unlike honcho's it does not outlive the supervisor, and reports that the part ended although
    something the part left behind may hold its output open.
    """

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        processes.die_with_parent(signal.SIGKILL)
        # A terminal tells its whole group; ending the part is the supervisor's to order. Not
        # SIG_IGN, which the part would inherit.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: None)
        self._events = events
        self._child = self._child_ctor(self.cmd, env=self.env, cwd=self.cwd)
        self._send_message({"pid": self._child.pid}, type="start")
        reader = threading.Thread(target=self._pass_on_lines, daemon=True)
        reader.start()
        status = self._child.wait()
        reader.join(1.0)
        self._send_message({"returncode": status}, type="stop")

    def _pass_on_lines(self) -> None:
        for line in self._child.stdout:
            self._send_message(line)


class Supervisor(honcho.manager.Manager):  # type: ignore[misc]
    """Runs parts in the foreground; `failure` says afterwards why it stopped by itself."""

    def __init__(
        self, parts: Sequence[Part], *, environ: Mapping[str, str], on_ready: Callable[[], None]
    ) -> None:
        super().__init__()
        self.failure = ""
        self._parts = parts
        self._on_ready = on_ready
        self._process_ctor = _Process
        self._procmgr = _Signals()
        self._signalled = False
        self._asked_redis = False
        self._ending_since = 0.0
        for part in parts:
            self.add_process(part.name, command_line(part.command), env=dict(environ))

    def run(self) -> int:
        """Run until a signal comes or a part ends; return 0 after a signal, 1 otherwise."""
        processes.adopt_orphans()
        try:
            self.loop()
        finally:
            for process in self._processes.values():
                process["process"].join(1.0)
            processes.end_descendants(patience=STRAGGLER_SECONDS)
        return 1 if self.failure else 0

    def say(self, text: str) -> None:
        """Print a line between the parts' own; callable from any thread."""
        message = honcho.printer.Message
        clock = self._clock.now()
        self.events.put(message("line", f"{text}\n", clock, "system", None))

    def _start(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, partial(self._on_signal, signal.getsignal(signum)))
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        super()._start()
        # Only now: forking a process that has threads is what Python warns of.
        threading.Thread(target=self._wait_until_ready, daemon=True).start()

    def _on_signal(self, honchos: Any, signum: int, frame: FrameType | None) -> None:
        self._signalled = True
        honchos(signum, frame)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        for part in self._parts:
            while not part.answers():
                if self._terminating:
                    return
                if time.monotonic() > until:
                    self._fail(f"{part.name} does not answer ({part.where}).")
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                time.sleep(0.2)
            self.say(f"{part.name} answers ({part.where})")
        time.sleep(0.3)  # lets the lines above come out first
        if not self._terminating:
            self._on_ready()

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why

    def terminate(self) -> None:
        """End all parts; called by honcho on a signal and when a part has ended."""
        if self._terminating:
            return
        self._ending_since = time.monotonic()
        if not self._signalled:
            for name, process in self._processes.items():
                if "returncode" in process:
                    self._fail(f"{name} ended by itself (status {process['returncode']}).")
        super().terminate()

    def _killall(self, force: bool = False) -> None:
        if force:
            for name in self._running():
                self._procmgr.kill(self._processes[name]["pid"])
            return
        for name in self._running() - {REDIS}:
            self._tell(name)
        self._end_redis_last()

    def _all_stopped(self) -> bool:
        # honcho asks this many times a second, which makes it the place to act on time passing.
        if self._terminating:
            self._end_redis_last()
            if time.monotonic() - self._ending_since > honcho.manager.KILL_WAIT:
                self.kill()
        return bool(super()._all_stopped())

    def _end_redis_last(self) -> None:
        if self._running() == {REDIS} and not self._asked_redis:
            self._asked_redis = True
            self._tell(REDIS)

    def _running(self) -> set[str]:
        return {
            name
            for name, process in self._processes.items()
            if "pid" in process and "returncode" not in process
        }

    def _tell(self, name: str) -> None:
        self._procmgr.terminate(self._processes[name]["pid"])


def command_line(command: Sequence[str]) -> str:
    """Return the shell's text for a command that replaces the shell.

    setpriv(1) asks the kernel to end the command when its parent, honcho's watcher, is gone.
    """
    guard = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return "exec " + shlex.join([*guard, *command])
