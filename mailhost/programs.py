"""Postfix's and Dovecot's own programs, started as cheaply and safely as possible.

Input goes through a file that is complete before the program starts, never a
pipe: a worker killed half-way would otherwise leave the program a truncated
line, and in a map that is another destination. Output goes to files as well, so
that no program waits for its answer to be read.

Every program has a time to end by, or a hung one would keep the server's lock for
ever: it is killed then, with all that it started.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import BinaryIO

from mailhost.errors import HostError

#: Seconds a program may take that has little to do (usually 10 to 50 ms).
PATIENCE = 60.0
#: What the slowest machine is sure to get done, of rows to write or to look up.
ROWS_PER_SECOND = 1000
# Seconds a killed program may take to be gone; one that waits for a broken disk never is.
_LAST_BREATH = 5.0
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
#: What every program sees: no locale, no setting of another instance.
ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said, and its exit code."""

    code: int
    out: str
    err: str


class TimedOut(HostError):
    """A program did not end in time, and was killed; the message names it."""

    def __init__(self, program: str, seconds: float) -> None:
        """Name the program and the time it had."""
        super().__init__(f"{program} did not end within {seconds:.0f} seconds")
        self.seconds = seconds


def patience(rows: int) -> float:
    """Return the seconds that a program gets for so many rows."""
    return PATIENCE + rows / ROWS_PER_SECOND


class Running:
    """A started program whose answer is still to come."""

    def __init__(
        self, process: subprocess.Popen[bytes], out: BinaryIO, err: BinaryIO, limit: TimedOut
    ) -> None:
        """Take a process, the files to which it writes, and what to raise when time is up."""
        self._process = process
        self._out = out
        self._err = err
        self._limit = limit
        self._end = time.monotonic() + limit.seconds

    def answer(self) -> Answer:
        """Wait for the program's end and return what it said; to be called once.

        Raises TimedOut when its time is up.
        """
        with self._out, self._err:
            if not _ended(self._process, self._end - time.monotonic()):
                _kill(self._process)
                raise self._limit
            return Answer(self._process.wait(), _text(self._out), _text(self._err).strip())


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process's end; say whether it came in time.

    By a descriptor of the process: Popen.wait() with a timeout looks only now and then.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        return _ready(descriptor, seconds)
    finally:
        os.close(descriptor)


def _ready(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_BREATH)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def start(
    arguments: Sequence[str],
    text: str | bytes = "",
    keep: Sequence[int] = (),
    seconds: float | None = None,
) -> Running:
    """Start a program with `text` as its input; it has PATIENCE or `seconds` to end.

    `keep` are descriptors it holds open while it runs: given the lock's, no other
    worker begins before a program that outlives its killed worker has ended.
    """
    with _memory() as file, ExitStack() as answer:
        out, err = answer.enter_context(_memory()), answer.enter_context(_memory())
        file.write(text if isinstance(text, bytes) else text.encode("ascii"))
        file.seek(0)
        process = subprocess.Popen(
            arguments,
            stdin=file,
            stdout=out,
            stderr=err,
            env=ENVIRONMENT,
            pass_fds=keep,
            process_group=0,
        )
        answer.pop_all()
    limit = TimedOut(arguments[0], PATIENCE if seconds is None else seconds)
    return Running(process, out, err, limit)


def _memory() -> BinaryIO:
    """Open a file that is nowhere but in memory."""
    return os.fdopen(os.memfd_create("program"), "w+b")


def run(
    arguments: Sequence[str],
    text: str | bytes = "",
    keep: Sequence[int] = (),
    seconds: float | None = None,
) -> Answer:
    """Start a program, wait for its end and return what it said. May raise TimedOut."""
    return start(arguments, text, keep, seconds).answer()


def lines(arguments: Sequence[str], seconds: float | None = None) -> Iterator[str]:
    """Yield a program's output line by line, as it comes; its complaints are dropped.

    Raises TimedOut when nothing comes for PATIENCE or `seconds`.
    """
    silence = PATIENCE if seconds is None else seconds
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        process_group=0,
    )
    assert process.stdout is not None  # noqa: S101 (piped above)
    rest = b""
    try:
        while _ready(process.stdout.fileno(), silence):
            if not (part := os.read(process.stdout.fileno(), 1 << 16)):
                return
            *whole, rest = (rest + part).split(b"\n")
            yield from (line.decode("utf-8", "surrogateescape") for line in whole)
        raise TimedOut(arguments[0], silence)
    finally:
        # Also when nobody wants the rest.
        process.stdout.close()
        _kill(process)
