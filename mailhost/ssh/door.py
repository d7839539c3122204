"""The door: what speaks SSH with customers, by a user id of its own.

A customer gets what a terminal needs and nothing else: password, a pseudo-terminal, a shell
request that brings Alpine. AsyncSSH says no to all that is not spelled out here.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import os
import resource
import signal
import socket
import time
from collections import Counter
from typing import Any

import asyncssh

from mailhost import serving
from mailhost.config import HostConfig
from mailhost.policy.grants import network_of
from mailhost.ssh import auth, messages
from mailhost.ssh.relay import Login
from mailhost.ssh.terminal import Terminal

#: Connections that have not logged in: all together, and from one network.
MOST_STRANGERS, MOST_FROM_ONE = 100, 10
#: Passwords tried on one connection, and seconds for all of them.
MOST_PASSWORDS, LOGIN_SECONDS = 3, 120
#: Sessions of one account; connections, also of who asks for no session, and how long that may be.
MOST_OF_ACCOUNT, MOST_CONNECTIONS_OF_ACCOUNT, SESSION_SECONDS = 3, 8, 60.0
#: A refusal comes this long after the password, or a multiple: whatever was the reason for it.
REFUSAL_SECONDS, QUICK_REFUSAL_SECONDS = 4.0, 0.5
# Bytes of memory for all customers together: 50 sessions and 100 strangers take a tenth of it.
_MOST_MEMORY = 2**30
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

_log = logging.getLogger("mailhost.ssh")


def run(keeper: socket.socket, listening: socket.socket, key: bytes, config: HostConfig) -> int:
    """Serve in this new process, as a user without rights, until SIGTERM; return the status."""
    try:
        give_up_rights(config.ssh_uid)
        asyncio.run(_serve(keeper, listening, key, config))
    except Exception:
        _log.exception("the door cannot serve")
        return 1
    return 0


def give_up_rights(uid: int) -> None:
    """Become a user without rights, for good: no way back, no core, no look into its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in (
        (_PR_SET_NO_NEW_PRIVS, 1),
        (_PR_SET_DUMPABLE, 0),
        (_PR_SET_PDEATHSIG, int(signal.SIGKILL)),
    ):
        if prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl failed")
    os.chdir("/")


async def _serve(
    keeper: socket.socket, listening: socket.socket, key: bytes, config: HostConfig
) -> None:
    ended = serving.told_to_end()
    client = KeeperClient(keeper, ended)
    door = Door(config, client)
    client.kick = door.kick
    server = await asyncssh.listen(
        sock=listening,
        server_factory=lambda: Connection(door),
        server_host_keys=[asyncssh.import_private_key(key)],
        server_version="PLUSMAIL",
        encoding=None,
        password_auth=True,
        public_key_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        gss_auth=False,
        gss_kex=False,
        allow_pty=True,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        sftp_factory=None,
        line_editor=False,
        compression_algs=None,
        rdns_lookup=False,
        login_timeout=LOGIN_SECONDS,
        keepalive_interval=60,
        keepalive_count_max=3,
        window=64 * 1024,
    )
    await ended.wait()
    server.close()
    await door.close()


class KeeperClient:
    """The way to the keeper: what it is asked, and what it tells."""

    def __init__(self, end: socket.socket, ended: asyncio.Event) -> None:
        """Take the socket; `ended` is set when the keeper is gone."""
        self._end = end
        self._ended = ended
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._sessions: dict[int, asyncio.Future[int]] = {}
        self.kick: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        end.setblocking(True)
        asyncio.get_running_loop().add_reader(end.fileno(), self._told)

    async def connect(self, to: str) -> socket.socket:
        """Return a connection to "auth", "imap" or "smtp". OSError if there is none."""
        _, files = await self._ask({"do": "connect", "to": to})
        return socket.socket(fileno=files[0])

    async def start(
        self, account: str, term: str, terminal: int
    ) -> tuple[int, list[socket.socket], asyncio.Future[int]]:
        """Start Alpine; return the session, its ports, and what its exit status will be in."""
        asked = {"do": "start", "account": account, "term": term[:40]}
        answer, files = await self._ask(asked, [terminal])
        session = answer["session"]
        ended = self._sessions.setdefault(session, asyncio.get_running_loop().create_future())
        return session, [socket.socket(fileno=file) for file in files], ended

    def end(self, session: int) -> None:
        """End a session; its future says when that is done."""
        messages.send(self._end, {"do": "end", "session": session})

    async def _ask(
        self, message: dict[str, Any], files: list[int] | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        number = next(self._numbers)
        answer: asyncio.Future[tuple[dict[str, Any], list[int]]]
        answer = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        messages.send(self._end, message | {"number": number}, files or [])
        try:
            found, opened = await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(_close_files)
            raise
        if "error" in found:
            raise OSError(0, str(found["error"]))
        return found, opened

    def _told(self) -> None:
        try:
            message, files = messages.receive(self._end)
        except (messages.Closed, OSError):
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            self._ended.set()
            return
        if "session" in message:
            # Its end may be told before who asked goes on.
            future = asyncio.get_running_loop().create_future()
            self._sessions[message["session"]] = future
        if "ended" in message:
            ended = self._sessions.pop(message["ended"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["status"])
        elif "kick" in message:
            task = asyncio.create_task(self._kick(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._asked.pop(message["number"]).set_result((message, files))

    async def _kick(self, message: dict[str, Any]) -> None:
        await self.kick(message["kick"])
        messages.send(self._end, {"do": "kicked", "kicks": message["kicks"]})


def _close_files(answer: asyncio.Future[tuple[dict[str, Any], list[int]]]) -> None:
    """Nobody waits any more for what came with an answer."""
    for file in answer.result()[1]:
        os.close(file)


class Door:
    """Who is connected, who has logged in, and what is too much."""

    def __init__(self, config: HostConfig, keeper: KeeperClient) -> None:
        """Take the settings and the way to the keeper."""
        self.keeper = keeper
        self._most_sessions = config.ssh_sessions
        self._slot = REFUSAL_SECONDS if config.slow_guessing else QUICK_REFUSAL_SECONDS
        # Oldest first, with the network of each.
        self._strangers: dict[Connection, str] = {}
        self.connections: set[Connection] = set()
        # How often sessions were ended, of an account: a login begun before is worth nothing.
        self._kicks: Counter[str] = Counter()
        self._under_way = 0

    def admit(self, connection: Connection, network: str) -> bool:
        """Say whether one more may try to log in from there.

        Of too many in all, the oldest goes: nobody keeps the others out by waiting.
        """
        if [*self._strangers.values()].count(network) >= MOST_FROM_ONE:
            return False
        if len(self._strangers) >= MOST_STRANGERS:
            next(iter(self._strangers)).abort()
        self._strangers[connection] = network
        return True

    def no_stranger(self, connection: Connection) -> None:
        """It has logged in, or is gone."""
        self._strangers.pop(connection, None)

    def connections_of(self, account: str) -> int:
        """Return how many connections have logged in as this account."""
        return sum(one.account == account for one in self.connections)

    def has_room_for(self, account: str, asking: Terminal) -> str:
        """Say in words for the customer why there is no room for one more session, or ""."""
        others = [one for one in self.connections if one.terminal not in (None, asking)]
        with_session = [one for one in others if one.terminal and one.terminal.runs]
        if sum(one.account == account for one in with_session) >= MOST_OF_ACCOUNT:
            return f"This account has {MOST_OF_ACCOUNT} sessions open already."
        if len(with_session) >= self._most_sessions:
            return "Too many are reading their mail this way just now. Please try again later."
        return ""

    async def log_in(self, login: str, password: str, remote: str) -> str:
        """Return the account whose password this is, or "" after the time that a refusal takes."""
        began = time.monotonic()
        account = ""
        if auth.may_be_right(login, password):
            account = await self._asked(login, password, remote)
        if account:
            return account
        passed = time.monotonic() - began
        await asyncio.sleep(self._slot - passed % self._slot)
        return ""

    async def _asked(self, login: str, password: str, remote: str) -> str:
        before = self._kicks.copy()
        self._under_way += 1
        try:
            connection = await self.keeper.connect("auth")
            account = await auth.account_of(connection, login, password, remote)
        except (OSError, auth.AuthError) as error:
            _log.error("nobody can log in: %s", error)
            return ""
        finally:
            self._under_way -= 1
        if self._kicks[account] != before[account]:
            return ""
        return account

    async def kick(self, names: list[str]) -> None:
        """End the sessions of these accounts, and let no login go on that began before."""
        if not self._under_way:
            self._kicks.clear()
        self._kicks.update(names)
        gone = [one for one in self.connections if one.account in set(names)]
        await asyncio.gather(*(one.end("Your access has been changed.") for one in gone))

    async def close(self) -> None:
        """End all connections."""
        gone = list(self.connections)
        await asyncio.gather(*(one.end("The service ends.") for one in gone))


class Connection(asyncssh.SSHServer):
    """One client's connection: a login, then one session."""

    def __init__(self, door: Door) -> None:
        """Take who counts it."""
        self._door = door
        self._tries = 0
        self._connection: asyncssh.SSHServerConnection | None = None
        self._remote = ""
        self.account = ""
        self._password = ""
        self._timer: asyncio.TimerHandle | None = None
        self.terminal: Terminal | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Let it go on, or end it at once where there are too many."""
        self._connection = conn
        peer = conn.get_extra_info("peername")
        # An IPv4 address on a socket of IPv6.
        self._remote = str(peer[0]).removeprefix("::ffff:").partition("%")[0]
        if self._door.admit(self, network_of(self._remote)):
            self._door.connections.add(self)
        else:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._door.no_stranger(self)
        self._door.connections.discard(self)
        if self._timer:
            self._timer.cancel()
        if self.terminal:
            self.terminal.hang_up()

    def abort(self) -> None:
        """End it at once."""
        self._door.no_stranger(self)
        if self._connection:
            self._connection.abort()

    def _expect_a_session(self) -> None:
        """End it where no session runs: nobody holds connections for nothing else."""
        if self.terminal is not None and self.terminal.runs:
            self._timer = asyncio.get_running_loop().call_later(
                SESSION_SECONDS, self._expect_a_session
            )
        elif self._connection:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "No session")

    async def end(self, words: str) -> None:
        """End it, and its session, with a word to the customer; return when Alpine is gone."""
        if self.terminal:
            await self.terminal.end(words)
        if self._connection:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, words)

    # Who it is

    def begin_auth(self, username: str) -> bool:
        """Ask everybody for a password."""
        return True

    def password_auth_supported(self) -> bool:
        """Say that passwords are the way."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Ask Dovecot."""
        self._tries += 1
        if self._tries > MOST_PASSWORDS:
            return False
        account = await self._door.log_in(username, password, self._remote)
        if not account:
            _log.info("login refused: from=<%s>", self._remote)
            if self._tries >= MOST_PASSWORDS and self._connection:
                self._connection.disconnect(
                    asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many wrong passwords"
                )
            return False
        self._door.no_stranger(self)
        if self._connection and self._door.connections_of(account) >= MOST_CONNECTIONS_OF_ACCOUNT:
            _log.info("too many connections: account=<%s> from=<%s>", account, self._remote)
            self._connection.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, "Too many connections")
            return False
        self.account, self._password = account, password
        self._timer = asyncio.get_running_loop().call_later(SESSION_SECONDS, self._expect_a_session)
        _log.info("login: account=<%s> from=<%s>", account, self._remote)
        return True

    # What it gets

    def session_requested(self) -> Terminal | bool:
        """Give one terminal, and no other channel."""
        if self.terminal is not None or not self.account:
            return False
        login = Login(self.account, self._password, self._remote)
        self.terminal = Terminal(self._door, login)
        return self.terminal
