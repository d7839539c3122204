"""One session: a pseudo-terminal with Alpine at one end and the SSH channel at the other."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import struct
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncssh

from mailhost.ssh import relay

if TYPE_CHECKING:
    from mailhost.ssh.door import Door

#: Seconds without a key until a session ends.
IDLE = 1800.0
#: What Alpine shows at once, and what may wait to be typed, in bytes.
_CHUNK, _MOST_TYPED = 32 * 1024, 64 * 1024
#: Rows and columns of a terminal: what a client says is between these.
_LEAST, _MOST = 4, 500
# Erase the screen, and show the cursor: Alpine, killed, leaves both as they were.
_CLEAR = b"\x1b[0m\x1b[2J\x1b[H\x1b[?25h\x1b[?1l\x1b>"

_log = logging.getLogger("mailhost.ssh")


class _NoEnvironment(dict[bytes, bytes]):
    """What a client says of its environment: nothing is done with it, so nothing is kept of it."""

    def __setitem__(self, name: bytes, value: bytes) -> None:
        """Forget it. There is no end to what a client may say."""


class Terminal(asyncssh.SSHServerSession[bytes]):
    """What one channel asks for, and gets: a terminal and a shell, which is Alpine."""

    def __init__(self, door: Door, login: relay.Login) -> None:
        """Take who starts sandboxes and connects, and whose session it is."""
        self._door = door
        self._login = login
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._term: str | None = None
        self._size = (80, 24)
        self._leader = -1
        self._session = 0
        self._ended: asyncio.Future[int] | None = None
        self._ports: list[relay.Port] = []
        self._typed = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._last_key = time.monotonic()
        self._closing = False

    @property
    def runs(self) -> bool:
        """Whether Alpine runs here, or is about to."""
        return self._task is not None and not self._task.done()

    # What a channel may ask for

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel."""
        self._channel = chan
        # AsyncSSH has no switch for it (`SSHChannel._process_env_request`).
        chan._env = _NoEnvironment()

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any
    ) -> bool:
        """Give a terminal of this type and size; its modes are Alpine's to set."""
        self._term = term_type or ""
        self._size = term_size[:2]
        return True

    def shell_requested(self) -> bool:
        """Give Alpine, where there is a terminal for it."""
        return self._term is not None

    def exec_requested(self, command: str) -> bool:
        """No command runs."""
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        """Nor does SFTP."""
        return False

    def session_started(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    # What comes from the client

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take keys."""
        self._last_key = time.monotonic()
        self._typed += data
        if len(self._typed) > _MOST_TYPED and self._channel:
            self._channel.pause_reading()
        if self._leader >= 0:
            self._type()

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Tell Alpine of the new size."""
        self._size = (width, height)
        if self._leader >= 0:
            self._resize()

    def break_received(self, msec: int) -> bool:
        """Ignore it."""
        return True

    def signal_received(self, signal: str) -> None:
        """Ignore it: keys are all that reaches Alpine."""

    def eof_received(self) -> bool:
        """Nobody types any more."""
        self.hang_up()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.hang_up()

    def pause_writing(self) -> None:
        """The client reads slowly: so does this."""
        if self._leader >= 0:
            asyncio.get_running_loop().remove_reader(self._leader)

    def resume_writing(self) -> None:
        """It has read."""
        if self._leader >= 0:
            asyncio.get_running_loop().add_reader(self._leader, self._show)

    # The terminal

    def _resize(self) -> None:
        columns, rows = (max(_LEAST, min(_MOST, int(one or 0))) for one in self._size)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, size)

    def _type(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._typed:
                del self._typed[: os.write(self._leader, self._typed[:1024])]
        except BlockingIOError:
            loop.add_writer(self._leader, self._type)
            return
        except OSError:
            self._typed.clear()
        loop.remove_writer(self._leader)
        if self._channel:
            self._channel.resume_reading()

    def _show(self) -> None:
        try:
            data = os.read(self._leader, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # Alpine is gone: what it is told by its exit follows.
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._leader)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        """Show it, if anybody still looks."""
        with suppress(OSError):
            if self._channel:
                self._channel.write(data)

    # A session, from its beginning to its end

    async def _run(self) -> None:
        """Start Alpine, wait for its end, and say how it ended."""
        status, words = 1, ""
        began = time.monotonic()
        try:
            words = self._door.has_room_for(self._login.account, self)
            if not words:
                status = await self._read_mail()
        except (OSError, relay.Refused) as error:
            _log.error("no session: account=<%s>: %s", self._login.account, error)
            words = "Your mail cannot be read this way just now. Please try again later."
        finally:
            self._clean_up()
        seconds = time.monotonic() - began
        _log.info("ended: account=<%s> after %d seconds", self._login.account, seconds)
        self._say_and_exit(words, status)

    async def _read_mail(self) -> int:
        leader, terminal = os.openpty()
        try:
            os.set_blocking(leader, False)
            self._leader = leader
            self._resize()
            # On a login that is no longer right this fails before anything is started.
            account, term = self._login.account, self._term or ""
            self._session, sockets, self._ended = await self._door.keeper.start(
                account, term, terminal
            )
        finally:
            os.close(terminal)
        if self._closing:
            for listening in sockets:
                listening.close()
            self._door.keeper.end(self._session)
            return await self._ended
        await self._open(sockets)
        asyncio.get_running_loop().add_reader(leader, self._show)
        self._type()
        return await self._until_its_end()

    async def _open(self, sockets: list[Any]) -> None:
        keeper, login = self._door.keeper, self._login
        imap, smtp = sockets
        self._ports = [
            relay.Port(
                imap,
                lambda: keeper.connect("imap"),
                relay.log_in_to_imap,
                login,
                b"* BYE Your mailbox cannot be opened just now\r\n",
            ),
            relay.Port(
                smtp,
                lambda: keeper.connect("smtp"),
                relay.log_in_to_smtp,
                login,
                b"421 4.3.0 Sending is out of service for the moment: try again later\r\n",
            ),
        ]
        for port in self._ports:
            await port.open()

    async def _until_its_end(self) -> int:
        assert self._ended is not None  # noqa: S101 (it was started)
        while True:
            left = self._last_key + IDLE - time.monotonic()
            if left <= 0:
                _log.info("idle: account=<%s>", self._login.account)
                self._closing = True
                self._door.keeper.end(self._session)
                left = 10.0
            done, _ = await asyncio.wait([self._ended], timeout=left)
            if done:
                self._show_rest()
                return self._ended.result()

    def _show_rest(self) -> None:
        """Show what Alpine has said last."""
        with suppress(OSError):
            while data := os.read(self._leader, _CHUNK):
                self._write(data)

    def _clean_up(self) -> None:
        for port in self._ports:
            port.close()
            if port.problem:
                _log.warning("account=<%s>: %s", self._login.account, port.problem)
        leader, self._leader = self._leader, -1
        if leader >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(leader)
            loop.remove_writer(leader)
            os.close(leader)

    def _say_and_exit(self, words: str, status: int) -> None:
        if not self._channel:
            return
        if words:
            self._write(f"{words}\r\n".encode())
        with suppress(OSError):
            # What a signal ends has no status of its own.
            self._channel.exit(status if 0 <= status < 256 else 1)

    def hang_up(self) -> None:
        """End Alpine: nobody looks at it any more."""
        self._closing = True
        if self._ended is not None and not self._ended.done():
            self._door.keeper.end(self._session)

    async def end(self, words: str) -> None:
        """End Alpine with a word to the customer; return when it is gone."""
        self.hang_up()
        self._write(_CLEAR + f"{words}\r\n".encode())
        if self._task:
            await asyncio.wait([self._task], timeout=5.0)
