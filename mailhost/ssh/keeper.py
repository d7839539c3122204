"""The keeper: root, and small. It starts sandboxes, and opens the servers' sockets for the door.

What the door asks is judged by this server's own store: even a door that somebody has taken over
starts nothing but Alpine, in its sandbox, for an account that has SSH.
"""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailhost import processes
from mailhost.config import HostConfig, load_config
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.sqlite import read_only
from mailhost.ssh import alpine, control, door, messages, sandbox
from mailhost.ssh.starting import start
from mailhost.ssh.trial import trial

#: Seconds that the door has to end by itself.
PATIENCE = 5.0
_PR_SET_CHILD_SUBREAPER = 36

_log = logging.getLogger("mailhost.ssh")


class KeeperError(HostError):
    """What the door asked cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account that may have a session."""

    name: str
    address: str


def serve(root: Path) -> int:
    """Serve the mail server in `root` until SIGTERM or SIGINT; return the exit status."""
    paths = Paths(root)
    logging.basicConfig(
        filename=paths.log / "ssh.log",
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
    )
    # Of connections it says more than anybody reads.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    config = load_config(root)
    try:
        boxes = sandbox.Sandbox()
        if problem := trial(config.ssh_session_uid):
            raise sandbox.SandboxError(problem)
        with closing(_listen(config)) as listening, closing(control.listen(paths)) as told:
            return _serve(paths, config, boxes, listening, told)
    except (HostError, OSError) as error:
        _log.error("cannot serve: %s", error)
        sys.stderr.write(f"mailhost: SSH cannot be served: {error}\n")
        return 1


def _serve(
    paths: Paths,
    config: HostConfig,
    boxes: sandbox.Sandbox,
    listening: socket.socket,
    told: socket.socket,
) -> int:
    ours, theirs = messages.pair()
    key = paths.ssh_host_key.read_bytes()
    child = os.fork()
    if not child:
        ours.close()
        told.close()
        os._exit(door.run(theirs, listening, key, config))
    theirs.close()
    listening.close()
    pid = processes.pid_file(paths, "ssh")
    pid.write_text(f"{os.getpid()}\n")
    try:
        return Keeper(paths, config, boxes, ours, told, child).run()
    finally:
        pid.unlink(missing_ok=True)


def _listen(config: HostConfig) -> socket.socket:
    everywhere = config.login_listen == "*"
    # "" listens on IPv4 and IPv6 alike.
    host = "" if everywhere else config.login_listen
    family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
    both = everywhere and socket.has_dualstack_ipv6()
    if everywhere and not both:
        family = socket.AF_INET
    return socket.create_server(
        (host, config.ssh_port), family=family, backlog=100, dualstack_ipv6=both
    )


class Keeper:
    """Answers the door until it or the keeper is told to end."""

    def __init__(
        self,
        paths: Paths,
        config: HostConfig,
        boxes: sandbox.Sandbox,
        ours: socket.socket,
        told: socket.socket,
        child: int,
    ) -> None:
        """Take the ways to the door and from who ends sessions; `child` is the door's process."""
        self._paths = paths
        self._config = config
        self._boxes = boxes
        self._door = ours
        self._told = told
        self._child = child
        # The processes of sessions, each with its pidfd.
        self._sessions: dict[int, int] = {}
        # Who waits for sessions to have ended, by the number of what was asked.
        self._waiting: dict[int, socket.socket] = {}
        self._kicks = 0
        # How processes ended that were buried before anybody asked.
        self._statuses: dict[int, int] = {}
        self._events = selectors.DefaultSelector()
        self._do: dict[str, Callable[[dict[str, Any], list[int]], None]] = {
            "connect": self._connect,
            "start": self._start,
            "end": self._end,
            "kicked": self._kicked,
        }

    def run(self) -> int:
        """Serve; return 0 after a signal, 1 where the door has ended by itself."""
        wakes, woken = socket.socketpair()
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        # What bwrap leaves behind when it is killed is this process's to bury.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        events = ((wakes, "signal"), (self._door, "door"), (self._told, "told"))
        for descriptor, what in events:
            self._events.register(descriptor, selectors.EVENT_READ, what)
        _log.info("ready")
        try:
            return self._turn(wakes)
        finally:
            self._end_all()
            _log.info("ended")

    def _turn(self, wakes: socket.socket) -> int:
        while True:
            for key, _ in self._events.select():
                if key.data == "signal":
                    if set(wakes.recv(100)) != {signal.SIGCHLD}:
                        return 0
                    self._bury()
                elif key.data == "told":
                    self._take_names()
                elif key.data == "door":
                    try:
                        message, files = messages.receive(self._door)
                    except (messages.Closed, OSError):
                        _log.error("the door has ended")
                        return 1
                    self.answer(message, files)
                else:
                    self._reap(key.data, key.fd)

    def answer(self, message: dict[str, Any], files: list[int]) -> None:
        """Do what a message of the door asks, or tell it why not; `files` are closed."""
        try:
            self._do[message["do"]](message, files)
        except (HostError, OSError, sqlite3.Error, KeyError, TypeError, ValueError) as error:
            _log.warning("%s failed: %s", message.get("do"), error)
            self._tell({"number": message.get("number"), "error": str(error)})
        finally:
            for descriptor in files:
                os.close(descriptor)

    def _tell(self, message: dict[str, Any], files: Sequence[int] = ()) -> None:
        with suppress(OSError):
            messages.send(self._door, message, files)

    # What the door asks

    def _connect(self, message: dict[str, Any], _files: list[int]) -> None:
        places = {
            "auth": self._paths.ssh_auth,
            "imap": self._paths.ssh_imap,
            "smtp": self._paths.ssh_submission,
        }
        place = places.get(message["to"])
        if place is None:
            raise KeeperError("no such place")
        with socket.socket(socket.AF_UNIX) as connection:
            # Where too many wait to be accepted this says so, and does not wait along.
            connection.setblocking(False)
            connection.connect(str(place))
            self._tell({"number": message["number"]}, [connection.fileno()])

    def _start(self, message: dict[str, Any], files: list[int]) -> None:
        if len(files) != 1 or not os.isatty(files[0]):
            raise KeeperError("no terminal")
        if len(self._sessions) >= self._config.ssh_sessions:
            raise KeeperError("too many sessions")
        account = self._account(str(message["account"]))
        term = sandbox.known_term(str(message["term"]))
        uid = self._config.ssh_session_uid
        texts = alpine.files(account.name, account.address.rpartition("@")[2], uid)
        zone = self._config.time_zone
        inside = sandbox.Inside(uid, self._config.hostname, term, texts, zone)
        process, ports = start(self._boxes, inside, files[0])
        self._sessions[process] = os.pidfd_open(process)
        self._events.register(self._sessions[process], selectors.EVENT_READ, process)
        numbers = [port.fileno() for port in ports]
        self._tell({"number": message["number"], "session": process}, numbers)
        for port in ports:
            port.close()

    def _account(self, name: str) -> Account:
        """Return an account that has SSH. Raises KeeperError."""
        query = "SELECT address FROM mailbox WHERE name = ? AND state = 'open' AND ssh = 1"
        with closing(read_only(self._paths.store, patience=10)) as store:
            row = store.execute(query, (name,)).fetchone()
        if row is None:
            raise KeeperError("no such account, or none with SSH")
        return Account(name, row[0])

    def _end(self, message: dict[str, Any], _files: list[int]) -> None:
        self._kill(int(message["session"]))

    def _kill(self, process: int) -> None:
        # By the descriptor: the number may be another process's by now.
        if (descriptor := self._sessions.get(process)) is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def _reap(self, process: int, descriptor: int) -> None:
        self._events.unregister(descriptor)
        os.close(descriptor)
        del self._sessions[process]
        self._tell({"ended": process, "status": self._status_of(process)})

    def _bury(self) -> None:
        """Take notice of all processes that have ended."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] in self._sessions or ended[0] == self._child:
                    self._statuses[ended[0]] = ended[1]

    def _status_of(self, process: int) -> int:
        """Wait for a child's end, if it is not over; return its exit status."""
        if process not in self._statuses:
            self._statuses[process] = os.waitpid(process, 0)[1]
        return os.waitstatus_to_exitcode(self._statuses.pop(process))

    # Who ends sessions

    def _take_names(self) -> None:
        """Hand on to the door whose sessions are to end; `_kicked` answers who asked."""
        connection, _ = self._told.accept()
        names = control.names_from(connection)
        if names is None:
            connection.close()
            return
        self._kicks += 1
        self._waiting[self._kicks] = connection
        self._tell({"kick": names, "kicks": self._kicks})

    def _kicked(self, message: dict[str, Any], _files: list[int]) -> None:
        connection = self._waiting.pop(int(message["kicks"]), None)
        if connection is not None:
            with closing(connection), suppress(OSError):
                connection.send(control.DONE)

    # The end

    def _end_all(self) -> None:
        self._door.close()
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGTERM)
        for process in list(self._sessions):
            self._kill(process)
        for process in list(self._sessions):
            self._status_of(process)
        end = time.monotonic() + PATIENCE
        self._bury()
        while self._child not in self._statuses:
            if time.monotonic() > end:
                os.kill(self._child, signal.SIGKILL)
            time.sleep(0.02)
            self._bury()
