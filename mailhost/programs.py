"""Postfix's and Dovecot's own programs, started as cheaply and safely as possible.

Input goes through a file that is complete before the program starts, never a
pipe: a worker killed half-way would otherwise leave the program a truncated
line, and in a map that is another destination.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wrap a process that has stdout and stderr piped."""
        self._process = process

    def answer(self) -> Answer:
        """Wait for the program's end and return what it said."""
        out, err = self._process.communicate()
        return Answer(self._process.returncode, out, err.strip())


def start(arguments: Sequence[str], text: str = "", keep: Sequence[int] = ()) -> Running:
    """Start a program with `text` as its input.

    `keep` are descriptors it holds open while it runs: given the lock's, no other
    worker begins before a program that outlives its killed worker has ended.
    """
    with os.fdopen(os.memfd_create("input"), "w+", encoding="ascii") as file:
        file.write(text)
        file.flush()
        file.seek(0)
        return Running(
            subprocess.Popen(
                arguments,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                pass_fds=keep,
                encoding="utf-8",
                errors="surrogateescape",
            )
        )


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
