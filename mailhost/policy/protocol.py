"""Postfix's policy delegation protocol (SMTPD_POLICY_README), one connection per smtpd(8).

A request is lines of `name=value` and an empty line; an answer is `action=...` and an empty
line. Answers go out once the database has what they stand for. A request that is malformed,
too long or too slow costs its connection, which Postfix opens anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import Directory
from mailhost.policy.repeats import Passed, Repeats
from mailhost.policy.request import Malformed, Reader
from mailhost.policy.rules import PASS, Rules

#: Bytes of a request; Postfix's have about 600, with a certificate's names 8 KB.
MOST_REQUEST = 64 * 1024
#: Bytes of answers that nobody fetches.
MOST_UNREAD = 64 * 1024
#: Seconds a request may take to come whole, and a connection may lie idle (Postfix's: 300).
PATIENCE = 5.0
IDLE = 900.0
#: Connections at once; one more is refused. Postfix has one per smtpd(8), 100 by default.
MOST_CONNECTIONS = 5000

_log = logging.getLogger("mailhost.policy")


def _answer(action: str) -> bytes:
    return f"action={action}\n\n".encode()


_YES = _answer(PASS)


class PolicyServer:
    """All connections, and the answers that wait for the commit."""

    def __init__(
        self,
        db: PolicyDatabase,
        directory: Directory,
        rules: Rules,
        repeats: Repeats,
        clock: Callable[[], float],
    ) -> None:
        """Take who answers."""
        self._db = db
        self._directory = directory
        self._rules = rules
        self._repeats = repeats
        self._clock = clock
        # The time of this turn, and the loop's at the last look for slow connections.
        self._now = clock()
        self.looked_at = asyncio.get_running_loop().time()
        self._answers: list[tuple[Connection, bytes]] = []
        self.connections: set[Connection] = set()
        # One for all: asyncio.Protocol's costs a new one of 256 KB for each request.
        self.buffer = memoryview(bytearray(MOST_REQUEST))

    def connection(self) -> Connection:
        """Return the protocol of a new connection, for asyncio's create_unix_server."""
        return Connection(self)

    def answer(self, connection: Connection, request: bytes) -> None:
        """Judge a request; the answer goes out with those of this turn. Raises Malformed."""
        if self._db.failing:
            # Nothing can be written: as if this daemon were down, but it goes on trying.
            connection.abort()
            return
        if not self._answers:
            self._directory.refresh()
            self._now = self._clock()
        answer = self._judge(connection, request)
        if not self._answers:
            self._db.then(self._send)
        self._answers.append((connection, answer))

    def _judge(self, connection: Connection, request: bytes) -> bytes:
        if connection.passed is not None:
            recipient = connection.reader.repeated(request)
            if recipient is not None and self._repeats.take(
                connection.passed, recipient, self._now
            ):
                return _YES
        asked = connection.reader.read(request)
        action = self._rules.answer(asked, self._now)
        connection.passed = self._repeats.passed(asked) if action == PASS else None
        return _answer(action)

    def _send(self, good: bool) -> None:
        answers, self._answers = self._answers, []
        for connection, answer in answers:
            if good:
                connection.send(answer)
            else:
                # Postfix asks again, and then does what main.cf says for a daemon that is down.
                connection.abort()

    def expire(self) -> None:
        """End connections that are too slow or idle. To be called each second."""
        now = self.looked_at = asyncio.get_running_loop().time()
        for connection in [c for c in self.connections if c.ends_at < now]:
            connection.abort()


class Connection(asyncio.BufferedProtocol):
    """One connection: requests one after another."""

    _transport: asyncio.Transport
    send: Callable[[bytes], None]

    def __init__(self, server: PolicyServer) -> None:
        """Take who answers."""
        self._server = server
        self._rest = b""
        self.reader = Reader()
        self.passed: Passed | None = None
        # To the second: when it is too slow, or idle for too long.
        self.ends_at = server.looked_at + IDLE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of create_unix_server)
        self._transport = transport
        transport.set_write_buffer_limits(MOST_UNREAD)
        self.send = transport.write
        if len(self._server.connections) >= MOST_CONNECTIONS:
            self.abort()
            return
        self._server.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it."""
        self._server.connections.discard(self)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to put what comes."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Judge each request that is complete now."""
        data = bytes(self._server.buffer[:nbytes])
        fresh = not self._rest
        if not fresh:
            data = self._rest + data
        *requests, self._rest = data.split(b"\n\n")
        try:
            for request in requests:
                self._server.answer(self, request)
            if len(self._rest) > MOST_REQUEST:
                raise Malformed("too long")
        except Malformed as error:
            _log.warning("a connection ended, for a request that is none: %s", error)
            self.abort()
            return
        except Exception:
            _log.exception("a request could not be judged")
            self.abort()
            return
        if requests or fresh:
            self.ends_at = self._server.looked_at + (PATIENCE if self._rest else IDLE)

    def pause_writing(self) -> None:
        """End it: nobody fetches the answers."""
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()
        self._server.connections.discard(self)
