"""What door and keeper tell each other: JSON, with open files beside it where there are some.

A message goes whole or not at all, by a socket pair of SOCK_SEQPACKET that nobody else has.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

#: Bytes of a message; the longest names accounts that lose their sessions.
MOST = 64 * 1024
_MOST_FILES = 4


class Closed(Exception):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Send a message, with descriptors that the other side gets copies of. OSError if it cannot."""
    data = json.dumps(message).encode()
    if files:
        socket.send_fds(end, [data], files)
    else:
        end.send(data)


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and its files. Raises Closed, or BlockingIOError if there is none."""
    data, files, flags, _ = socket.recv_fds(end, MOST, _MOST_FILES)
    if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise Closed
    return json.loads(data), files
