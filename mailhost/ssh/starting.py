"""Starting a sandbox: a child of the keeper that becomes bwrap."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from mailhost.ssh import messages, sandbox

#: Seconds a new sandbox has to come up.
PATIENCE = 5.0


def start(
    boxes: sandbox.Sandbox, inside: sandbox.Inside, terminal: int
) -> tuple[int, list[socket.socket]]:
    """Start a program in a sandbox; return its process, and its ports for IMAP and SMTP.

    SandboxError if it does not come up.
    """
    words, files = boxes.arguments(inside)
    ours, theirs = messages.pair()
    try:
        process = os.fork()
        if not process:
            _be_the_sandbox(words, files, terminal, theirs)
        theirs.close()
        ours.settimeout(PATIENCE)
        try:
            data, ports, _, _ = socket.recv_fds(ours, 200, 2)
        except OSError as error:
            data, ports = str(error).encode(), []
    finally:
        for descriptor in files:
            os.close(descriptor)
        ours.close()
    if len(ports) != 2:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise sandbox.SandboxError(f"the kernel refuses it ({data.decode('utf-8', 'replace')}).")
    return process, [socket.socket(fileno=port) for port in ports]


def _be_the_sandbox(
    words: Sequence[str], files: Sequence[int], terminal: int, listening: socket.socket
) -> None:
    """In the child: become bwrap, or tell why not and end."""
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        sandbox.begin(terminal, listening)
        sandbox.become(words, files)
    except BaseException as error:
        with suppress(OSError):
            why = error.strerror if isinstance(error, OSError) else str(error)
            listening.send(str(why).encode()[:200] or b"?")
    finally:
        os._exit(1)
