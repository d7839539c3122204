"""mutt, a mail program, under a terminal of its own."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

_END = b"\0-- END --\0"


def mutt(place: str, keys: str, home: Path, *settings: str) -> None:
    """Have mutt open a mailbox (a path or a URL), and press keys that end it."""
    if not shutil.which("mutt"):
        pytest.fail("mutt is missing: deploy/install-packages test")
    # Or it would ask whether to make it, and take the first key for the answer.
    (home / "Mail").mkdir(exist_ok=True)
    command = ["mutt", "-n", "-F", "/dev/null", "-f", place]
    for line in (*settings, f"push '{keys}'"):
        command += ["-e", line]
    terminal, inside_it = pty.openpty()
    environment = {"HOME": str(home), "TERM": "xterm", "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, cwd=home, env=environment, stdin=inside_it, stdout=inside_it, stderr=inside_it
    ) as process:
        os.close(inside_it)
        with suppress(OSError):
            while os.read(terminal, 4096):
                pass
    os.close(terminal)
    assert process.returncode == 0


def mutt_saw(place: str, home: Path, *settings: str) -> list[bytes]:
    """Return each message of a mailbox as mutt hands it to a program."""
    program = home / "keep"
    program.write_bytes(b"#!/bin/sh\ncat >>seen\nprintf '\\0-- END --\\0' >>seen\n")
    program.chmod(0o755)
    keys = "<tag-pattern>.<enter><tag-prefix><pipe-message>./keep<enter><exit>"
    whole = "set sort=mailbox-order pipe_split=yes pipe_decode=no wait_key=no"
    mutt(place, keys, home, whole, *settings)
    return (home / "seen").read_bytes().split(_END)[:-1]
