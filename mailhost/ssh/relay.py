"""What Alpine reads and sends: handed on to Dovecot and Postfix, logged in on its behalf.

In the sandbox two ports answer as servers that have seen the password already. So Alpine needs
none, and a sandbox that somebody has broken open holds none.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

#: Seconds in which a server logs an account in, and connections of one session at a time.
PATIENCE, MOST_CONNECTIONS = 30.0, 8
_CHUNK = 64 * 1024
_CAPABILITY = re.compile(rb"\[CAPABILITY ([^\]\r\n]{1,2000})\]")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refused(Exception):
    """A server does not let the account in; the message says why."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who reads and sends: the account, its password, and the customer's address."""

    account: str
    password: str = field(repr=False)
    remote: str

    @property
    def plain(self) -> bytes:
        """What SASL's PLAIN says (RFC 4616)."""
        return base64.b64encode(f"\0{self.account}\0{self.password}".encode())


async def _line(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\n")


async def log_in_to_imap(upstream: Streams, login: Login) -> bytes:
    """Log in by IMAP; return the greeting that says so. Raises Refused."""
    reader, writer = upstream
    greeting = await _line(reader)
    if not greeting.startswith(b"* OK"):
        raise Refused("Dovecot gives no greeting")
    writer.write(b"1 AUTHENTICATE PLAIN " + login.plain + b"\r\n")
    while (line := await _line(reader)).startswith(b"* "):
        pass
    if not line.startswith(b"1 OK"):
        raise Refused("Dovecot refuses the account")
    able = _CAPABILITY.search(line)
    return b"* PREAUTH " + (able[0] + b" " if able else b"") + b"ready\r\n"


async def log_in_to_smtp(upstream: Streams, login: Login) -> bytes:
    """Log in by SMTP; return the greeting that follows. Raises Refused."""
    reader, writer = upstream
    remote = ipaddress.ip_address(login.remote)
    here = "127.0.0.1" if remote.version == 4 else "::1"
    # haproxy-protocol.txt, version 1: whose connection it is.
    writer.write(f"PROXY TCP{remote.version} {remote} {here} 1 587\r\n".encode())
    greeting = await _reply(reader, b"220")
    writer.write(b"EHLO ssh.localhost\r\n")
    await _reply(reader, b"250")
    writer.write(b"AUTH PLAIN " + login.plain + b"\r\n")
    await _reply(reader, b"235")
    return greeting


async def _reply(reader: asyncio.StreamReader, wanted: bytes) -> bytes:
    while (line := await _line(reader))[3:4] == b"-":
        pass
    if not line.startswith(wanted):
        raise Refused(f"Postfix says {line.decode('ascii', 'replace').strip()!a}")
    return line


class Port:
    """One port in a sandbox: each connection to it is one to a server, logged in."""

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], Awaitable[socket.socket]],
        log_in: Callable[[Streams, Login], Awaitable[bytes]],
        login: Login,
        sorry: bytes,
    ) -> None:
        """Take where it listens, how a server is reached, and what is said if that fails."""
        self._listening = listening
        self._connect = connect
        self._log_in = log_in
        self._login = login
        self._sorry = sorry
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Why the last connection to a server failed, for the log.
        self.problem = ""

    async def open(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(self._serve, sock=self._listening)

    def close(self) -> None:
        """End it, and all connections."""
        if self._server:
            self._server.close()
        self._listening.close()
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine is in one)
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._hand_on((reader, writer))
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _hand_on(self, alpine: Streams) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                upstream = await asyncio.open_unix_connection(sock=await self._connect())
                try:
                    greeting = await self._log_in(upstream, self._login)
                except BaseException:
                    upstream[1].close()
                    raise
        except (Refused, OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.problem = str(error)
            alpine[1].write(self._sorry)
            return
        alpine[1].write(greeting)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(alpine[0], upstream[1]))
                both.create_task(_pump(upstream[0], alpine[1]))
        finally:
            upstream[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side has said all, or is gone."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
