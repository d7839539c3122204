"""Whether this machine can make a sandbox at all: without one, nobody gets anything by SSH."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from contextlib import closing, suppress
from io import FileIO

from mailhost.errors import HostError
from mailhost.ssh import alpine, sandbox
from mailhost.ssh.starting import start

# Seconds for all of it, should it hang; usually 50 ms.
_PATIENCE = 20.0
# Where only the machine is tried, and no server says who Alpine is to be.
_ANY_USER = 5003
_NAME = "trial.invalid"
_NONE = "No sandbox can be made on this machine"
_FORBIDDEN = re.compile(r"^\s+unix \(disabled\)", re.MULTILINE)


def trial(uid: int = _ANY_USER) -> str:
    """Start Alpine in a sandbox, as user `uid`; say in one sentence why it fails, or return ""."""
    try:
        boxes = sandbox.Sandbox(("alpine", "-supported"))
        texts = alpine.files("trial", _NAME, uid)
        inside = sandbox.Inside(uid, _NAME, "xterm", texts)
        process, sockets, said = _start(boxes, inside)
    except (HostError, OSError) as error:
        return f"{_NONE}: {error}"
    for port in sockets:
        port.close()
    with closing(said):
        text = _said(said)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status:
        return f"{_NONE} (bwrap ended with {status}): {text[-300:]!a}"
    # A folder in a local file is what pine.conf.fixed forbids among other things.
    if not _FORBIDDEN.search(text):
        return "Alpine does not read the settings that cannot be changed (pine.conf.fixed)."
    return ""


def _said(terminal: FileIO) -> str:
    end, found = time.monotonic() + _PATIENCE, b""
    descriptor = terminal.fileno()
    with suppress(OSError):
        while select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            some = os.read(descriptor, 65536)
            if not some:
                break
            found += some
    return found.decode("utf-8", "replace").strip()


def _start(
    boxes: sandbox.Sandbox, inside: sandbox.Inside
) -> tuple[int, list[socket.socket], FileIO]:
    """Start a program at a terminal of its own; return the process, its ports and the terminal."""
    leader, terminal = os.openpty()
    try:
        process, ports = start(boxes, inside, terminal)
    except BaseException:
        os.close(leader)
        raise
    finally:
        os.close(terminal)
    return process, ports, FileIO(leader)
