"""Whose the other end of a connection on this machine is, as the kernel knows it.

The user is the one who made the socket; of one that is closed by now nobody is told. The kernel is
asked for the one connection (sock_diag(7)), in a fraction of a millisecond however many there are.
Where it answers no such question /proc/net/tcp is read (proc(5)): tens of milliseconds.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

#: The one address of this machine that is asked about.
LOOPBACK = "127.0.0.1"
_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = 1
_NUMBER = re.compile("[0-9]{1,10}")

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG, _NLM_F_REQUEST = 4, 1
_NLMSG_ERROR, _SOCK_DIAG_BY_FAMILY = 2, 20
_HEAD = struct.Struct("=IHHII")
# Family, protocol, nothing asked for beside, states (all).
_ASKED = struct.Struct("=BBBxI")
# Ports, in network order; the two addresses, of which IPv4 fills a quarter; any device, any socket.
_ENDS = struct.Struct("!HH4s12x4s12x")
_ANY = struct.pack("=IQ", 0, 2**64 - 1)
# Family, state, timer, retransmissions; what _ENDS and _ANY have; expiry, two queues, the user.
_TOLD = struct.Struct("=BBxx48sIIII")


def owner(port: int, server_port: int) -> int | None:
    """Return the user id of who connected from 127.0.0.1:`port` to 127.0.0.1:`server_port`.

    None where there is no such connection. Raises OSError where that cannot be told.
    """
    if _tells_by_netlink():
        return owner_by_netlink(port, server_port)
    with _TABLE.open(encoding="ascii", errors="replace") as lines:
        return owner_in(lines, port, server_port)


@cache
def _tells_by_netlink() -> bool:
    """Say whether this kernel does: without its module it tells of no connection at all."""
    with suppress(OSError), socket.create_server((LOOPBACK, 0)) as server:
        here = server.getsockname()
        with socket.create_connection(here) as client:
            return owner_by_netlink(client.getsockname()[1], here[1]) == os.geteuid()
    return False


def owner_by_netlink(port: int, server_port: int) -> int | None:
    """Return what `owner` does, by sock_diag(7)."""
    address = socket.inet_aton(LOOPBACK)
    ends = _ENDS.pack(port, server_port, address, address)
    content = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 2**32 - 1) + ends + _ANY
    head = (_HEAD.size + len(content), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        # It answers before it returns.
        kernel.setblocking(False)
        kernel.sendto(_HEAD.pack(*head) + content, (0, 0))
        return owner_told(kernel.recv(8192), ends)


def owner_told(answer: bytes, ends: bytes) -> int | None:
    """Return what `owner` does, of an answer by netlink. Raises OSError for what is none."""
    try:
        kind = _HEAD.unpack_from(answer)[1]
        if kind == _NLMSG_ERROR:
            code = -struct.unpack_from("=i", answer, _HEAD.size)[0]
            if code == errno.ENOENT:
                return None
            raise OSError(code, f"sock_diag: {os.strerror(code)}")
        _, state, connection, *_, user = _TOLD.unpack_from(answer, _HEAD.size)
    except struct.error as error:
        raise OSError("sock_diag: too short") from error
    # Of a port that nobody is connected to it may tell who listens there.
    same = kind == _SOCK_DIAG_BY_FAMILY and connection.startswith(ends)
    return user if same and state == _ESTABLISHED else None


def owner_in(lines: Iterable[str], port: int, server_port: int) -> int | None:
    """Return what `owner` does, of the lines of /proc/net/tcp.

    They are `sl local remote state ... uid ...`: ends as ADDRESS:PORT in hexadecimal, the address
    in the machine's own order of bytes.
    """
    wanted = [_end(port), _end(server_port), f"{_ESTABLISHED:02X}"]
    for line in lines:
        columns = line.split()
        if columns[1:4] == wanted and len(columns) > 7 and _NUMBER.fullmatch(columns[7]):
            return int(columns[7])
    return None


def _end(port: int) -> str:
    address = int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder)
    return f"{address:08X}:{port:04X}"
