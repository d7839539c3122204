"""Postfix's and Dovecot's own programs, started as cheaply and safely as possible.

Input goes through a file that is complete before the program starts, never a
pipe: a worker killed half-way would otherwise leave the program a truncated
line, and in a map that is another destination. Output goes to files as well, so
that no program waits for its answer to be read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
#: What every program sees: no locale, no setting of another instance.
ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said, and its exit code."""

    code: int
    out: str
    err: str


class Running:
    """A started program whose answer is still to come."""

    def __init__(self, process: subprocess.Popen[bytes], out: BinaryIO, err: BinaryIO) -> None:
        """Take a process, and the files to which it writes."""
        self._process = process
        self._out = out
        self._err = err

    def answer(self) -> Answer:
        """Wait for the program's end and return what it said; to be called once."""
        code = self._process.wait()
        return Answer(code, _text(self._out), _text(self._err).strip())


def _text(file: BinaryIO) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "surrogateescape")


def start(arguments: Sequence[str], text: str = "", keep: Sequence[int] = ()) -> Running:
    """Start a program with `text` as its input.

    `keep` are descriptors it holds open while it runs: given the lock's, no other
    worker begins before a program that outlives its killed worker has ended.
    """
    out, err = _memory(), _memory()
    with _memory() as file:
        file.write(text.encode("ascii"))
        file.seek(0)
        process = subprocess.Popen(
            arguments, stdin=file, stdout=out, stderr=err, env=ENVIRONMENT, pass_fds=keep
        )
    return Running(process, out, err)


def _memory() -> BinaryIO:
    """Open a file that is nowhere but in memory."""
    return os.fdopen(os.memfd_create("program"), "w+b")


def run(arguments: Sequence[str], text: str = "", keep: Sequence[int] = ()) -> Answer:
    """Start a program, wait for its end and return what it said."""
    return start(arguments, text, keep).answer()


def lines(arguments: Sequence[str]) -> Iterator[str]:
    """Yield a program's output line by line, as it comes; its complaints are dropped."""
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        encoding="utf-8",
        errors="surrogateescape",
    ) as process:
        assert process.stdout is not None  # noqa: S101 (piped above)
        for line in process.stdout:
            yield line.rstrip("\n")
