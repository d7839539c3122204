"""ProFTPD's files of who may log in, and its open sessions.

Both files are written whole and put in place by a rename: ProFTPD opens them anew for each
connection, and reads a line until it finds the name. Source: ProFTPD's AuthUserFile and
AuthGroupFile (passwd(5), group(5)), ftpwho(1).
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from mailhost import programs
from mailhost.config import HostConfig
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.processes import master
from mailhost.store.ftp import FtpUser

#: The group whose members see all archives of their domain.
ALL_ARCHIVES = "all-archives"
#: The group of all homes.
HOMES = "homes"
# The grammars were checked when the record was made; this keeps a line a line even so.
_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_LINE = re.compile(
    rf"\A{_NAME}:\$(?:6|2y)\$[./0-9A-Za-z$=]{{1,150}}:[1-9][0-9]*:[1-9][0-9]*::"
    r"/[A-Za-z0-9._/+-]{1,400}:/bin/false\n\Z"
)
# What the scoreboard calls who has not logged in.
_NOBODY_YET = "(none)"
# Seconds in which a session that was asked to end is gone (usually half a second).
_LAST_WORDS = 3.0
_MEMBERS = re.compile(rf"\A(?:{_NAME}(?:,{_NAME})*)?\Z")


class FtpError(HostError):
    """ProFTPD's files would hold something else than meant, or its sessions are not known."""


class Ftp:
    """ProFTPD of one server; it need not be running, nor be installed."""

    def __init__(self, paths: Paths, config: HostConfig) -> None:
        """Name the server and its settings."""
        self._paths = paths
        self._config = config

    def write(self, users: Iterable[FtpUser]) -> None:
        """Let just these log in from now on."""
        self._paths.ftp.mkdir(mode=0o700, exist_ok=True)
        fixed: list[str] = []
        # The groups first: who is fixed no longer must not see more for a moment.
        new = self._paths.ftp_users.with_name("users.new")
        with _opened(new) as lines:
            for user in users:
                lines.write(self.line(user))
                if user.fixed:
                    fixed.append(user.name)
            lines.flush()
            os.fsync(lines.fileno())
        self._write_groups(fixed)
        new.replace(self._paths.ftp_users)

    def line(self, user: FtpUser) -> str:
        """Return an account's line; FtpError if it is not a plain one."""
        # crypt(3) knows its scheme by the hash itself, without Dovecot's {SCHEME}.
        hashed = user.password_hash.rpartition("}")[2]
        root = self._config.homes_root or str(self._paths.root / "homes")
        ids = f"{self._config.home_uid}:{self._config.home_gid}"
        text = f"{user.name}:{hashed}:{ids}::{root}/{user.home}:/bin/false\n"
        if not _LINE.match(text) or ".." in f"/{user.home}/".split("/"):
            raise FtpError(f"not a plain line of ProFTPD's accounts: {user.name!a}")
        return text

    def _write_groups(self, fixed: Sequence[str]) -> None:
        members = ",".join(fixed)
        if not _MEMBERS.match(members):
            raise FtpError("not only plain names among ProFTPD's groups")
        new = self._paths.ftp_groups.with_name("groups.new")
        with _opened(new) as file:
            file.write(f"{HOMES}:*:{self._config.home_gid}:\n")
            # A number that owns nothing: the group counts by its name alone.
            file.write(f"{ALL_ARCHIVES}:*:{2**31 - 2}:{members}\n")
        new.replace(self._paths.ftp_groups)

    def lines(self) -> Iterator[str]:
        """Yield what ProFTPD's file of accounts holds; nothing if there is none."""
        with suppress(FileNotFoundError), self._paths.ftp_users.open(encoding="ascii") as file:
            yield from file

    def held(self, names: Iterable[str]) -> dict[str, str]:
        """Return the lines of these accounts, by name."""
        wanted = set(names)
        pairs = ((text.partition(":")[0], text) for text in self.lines())
        return {name: text for name, text in pairs if name in wanted}

    def kick(self, names: Iterable[str]) -> None:
        """End the open sessions of these accounts, and those that have not logged in yet.

        A connection reads the file that was there when it first looked: one made before the file
        changed could still log in by the old password. May raise FtpError.
        """
        gone = {*names, _NOBODY_YET}
        ending = [process for process, user in self.sessions() if user in gone]
        _signal(ending, signal.SIGTERM)
        end = time.monotonic() + _LAST_WORDS
        leader = master(self._paths, "ftp")
        while ending and leader and time.monotonic() < end:
            time.sleep(0.02)
            ending = [process for process in _children(leader) if process in ending]
        _signal(ending, signal.SIGKILL)

    def sessions(self) -> list[tuple[int, str]]:
        """Return process id and account of each connection; who has not logged in is "(none)".

        Raises FtpError if ProFTPD runs and does not say.
        """
        leader = master(self._paths, "ftp")
        if leader is None:
            return []
        try:
            answer = programs.run(["ftpwho", "-f", str(self._paths.ftp_scoreboard), "-o", "json"])
            known = {
                int(one["pid"]): str(one.get("user") or _NOBODY_YET)
                for one in json.loads(answer.out)["connections"]
            }
        except (OSError, ValueError, KeyError, TypeError, programs.TimedOut) as error:
            raise FtpError(f"ftpwho does not tell who is logged in: {error}") from error
        # The scoreboard may lag behind: whoever it does not know has not logged in.
        return [(child, known.get(child, _NOBODY_YET)) for child in _children(leader)]


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _children(parent: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                # proc(5): the parent is the second field after the name, which is in brackets.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def _opened(path: Path) -> TextIO:
    """Open a file for writing that root alone can read, from its first byte."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "w", encoding="ascii")
