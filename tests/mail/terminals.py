"""A real ssh client at a terminal whose screen can be read."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pyte

from tests.servers import PASSWORD, MailServer

#: Seconds in which a screen shows what it has to; a busy machine needs a few.
PATIENCE = 45.0
_ROWS, _COLUMNS = 24, 80
_QUIET = (
    "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
    "-o", "LogLevel=ERROR", "-o", "EscapeChar=none", "-o", "PubkeyAuthentication=no",
    "-o", "NumberOfPasswordPrompts=1",
)  # fmt: skip


def ssh(server: MailServer, login: str, *options: str, program: str = "ssh") -> list[str]:
    """Return the command line of a client; the password is in the environment of `environ`."""
    port = ["-P" if program == "sftp" else "-p", str(server.config.ssh_port)]
    return ["sshpass", "-e", program, *port, *_QUIET, *options, f"{login}@127.0.0.1"]


def environ(password: str = PASSWORD) -> dict[str, str]:
    """Return the environment of a client."""
    return os.environ | {"TERM": "xterm", "SSHPASS": password}


def said(command: Sequence[str], password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    """Run a client without a terminal to its end."""
    return subprocess.run(
        command, env=environ(password), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip


class Screen:
    """What a customer sees, and types."""

    def __init__(self, command: Sequence[str], password: str = PASSWORD) -> None:
        """Start a client at a new terminal."""
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.ended = False
        self._process, self._leader = pty.fork()
        if not self._process:
            os.execvpe(command[0], list(command), environ(password))  # noqa: S606 (a fixed program)
        size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, size)

    @property
    def text(self) -> str:
        """The screen's lines. Wide letters fill two places, of which the second is empty."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def read(self, seconds: float = 0.2) -> None:
        """Take what has come."""
        while not self.ended and select.select([self._leader], [], [], seconds)[0]:
            data = b""
            with suppress(OSError):
                data = os.read(self._leader, 65536)
            if not data:
                self.ended = True
            self._stream.feed(data)
            seconds = 0

    def shows(self, *words: str) -> bool:
        """Wait until one of these is to be seen."""
        end = time.monotonic() + PATIENCE
        while not any(word in self.text for word in words):
            if self.ended or time.monotonic() > end:
                return False
            self.read()
        return True

    def changes(self, *, from_: str) -> bool:
        """Wait until the screen is another one."""
        end = time.monotonic() + PATIENCE
        while self.text == from_ and not self.ended and time.monotonic() < end:
            self.read()
        return self.text != from_

    def type(self, keys: str, *words: str) -> None:
        """Type, and wait until one of `words` is to be seen."""
        os.write(self._leader, keys.encode())
        assert self.shows(*words), f"after {keys!a} there is no {words!a}:\n{self.text}"

    def ends(self) -> bool:
        """Wait until the client has ended."""
        end = time.monotonic() + PATIENCE
        while not self.ended and time.monotonic() < end:
            self.read()
        return self.ended

    def close(self) -> None:
        """End the client."""
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._leader)


@contextmanager
def screen(
    server: MailServer, login: str, *options: str, password: str = PASSWORD
) -> Iterator[Screen]:
    """Log in by ssh, as a customer types it."""
    opened = Screen(ssh(server, login, "-tt", *options), password)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def alpine(
    server: MailServer, login: str, *options: str, password: str = PASSWORD
) -> Iterator[Screen]:
    """Log in, and wait for Alpine to have opened the INBOX."""
    with screen(server, login, *options, password=password) as opened:
        assert opened.shows("Folder: INBOX"), f"{opened.text}\n{server.logs()}"
        yield opened
