"""Ending an account's sessions by SSH: how who applies a change tells the running service.

A socket for root alone takes names and says when their sessions are gone.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import closing, suppress

from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.processes import master

#: What is answered once the sessions have ended.
DONE = b"done"
#: Seconds they may take to.
PATIENCE = 10.0
# Bytes of a question: names of up to 63 characters, so many at a time.
_MOST, _NAMES = 48 * 1024, 500


class ControlError(HostError):
    """The SSH service runs, and does not say that sessions have ended."""


def listen(paths: Paths) -> socket.socket:
    """Return the socket where the service is told, for root alone."""
    with suppress(FileNotFoundError):
        paths.ssh_control.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listening.bind(str(paths.ssh_control))
    finally:
        os.umask(before)
    listening.listen(16)
    return listening


def names_from(connection: socket.socket) -> list[str] | None:
    """Read what `kick` has sent; None for what is none."""
    connection.settimeout(1.0)
    try:
        names = json.loads(connection.recv(_MOST))
    except (OSError, ValueError):
        return None
    return names if isinstance(names, list) and all(type(name) is str for name in names) else None


def kick(paths: Paths, names: Iterable[str]) -> None:
    """End the sessions of these accounts, and logins that are under way. May raise ControlError."""
    waiting = list(names)
    for n in range(0, len(waiting), _NAMES):
        _ask(paths, waiting[n : n + _NAMES])


def answers(paths: Paths, timeout: float) -> bool:
    """Say whether the service, door and keeper, answers within so many seconds."""
    with suppress(ControlError):
        _ask(paths, [], timeout)
        return True
    return False


def _ask(paths: Paths, names: list[str], timeout: float = PATIENCE) -> None:
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as connection:
            connection.settimeout(timeout)
            connection.connect(str(paths.ssh_control))
            connection.send(json.dumps(names).encode())
            answer = connection.recv(16)
    except OSError as error:
        if master(paths, "ssh") is None:
            # Whose sessions die with it.
            return
        raise ControlError(f"the SSH service does not answer: {error}") from error
    if answer != DONE and master(paths, "ssh") is not None:
        raise ControlError("the SSH service did not end sessions")
