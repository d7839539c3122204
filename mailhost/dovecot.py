"""What Dovecot itself says and does, asked by doveadm(1) on the instance's own sockets."""

from __future__ import annotations

import os
import re
import signal
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from mailhost import programs
from mailhost.errors import HostError
from mailhost.paths import Paths

# Names per call: a name has up to 63 characters, and all of them go on one command line. A call
# waits for each answer before it asks on, so several keep Dovecot's processes busy.
_BATCH = 2500
_ABSENT = re.compile(r"^userdb lookup: user (\S+) doesn't exist$", re.MULTILINE)
# doveadm-kick takes such an argument for an address (inet_aton(3)), not for a name.
_LIKE_ADDRESS = re.compile(r"\A[0-9a-fx.]+\Z")


Asked = list[tuple[Sequence[str], programs.Running]]


class NoAnswer(HostError):
    """Dovecot did not answer; the message is what doveadm said."""


@dataclass(frozen=True, slots=True)
class User:
    """A mailbox as Dovecot sees it: the change it was written by, and its id."""

    change: int
    mailbox_id: str


@dataclass(frozen=True, slots=True)
class Size:
    """What a mailbox holds: messages, and their bytes with line ends of two bytes."""

    messages: int
    used: int


class Doveadm:
    """doveadm, speaking to one server's Dovecot."""

    def __init__(self, paths: Paths) -> None:
        """Name the instance; it need not be running yet."""
        self._paths = paths

    @property
    def command(self) -> list[str]:
        """The beginning of a command line.

        A running Dovecot hands its settings over by its socket `config`; without it doveadm
        starts doveconf to read the files, which more than doubles its time.
        """
        socket = self._paths.run / "config"
        return ["doveadm", "-c", str(socket if socket.is_socket() else self._paths.dovecot_conf)]

    def ask_users(self, names: Sequence[str]) -> Asked:
        """Start asking for these mailboxes; `users` reads the result."""
        batches = [names[n : n + _BATCH] for n in range(0, len(names), _BATCH)]
        # -u: the user database alone, without working out each user's mail settings.
        command = [*self.command, "user", "-u", "-f", "plusmail_record"]
        # Batches run side by side, so each may take as long as all of them.
        seconds = programs.patience(len(names))
        return [(batch, programs.start([*command, *batch], seconds=seconds)) for batch in batches]

    def sessions(self, seconds: float | None = None) -> dict[str, list[int]]:
        """Return the process ids of every open session, by mailbox name.

        Raises NoAnswer, also when there is none within `seconds`.
        """
        found: dict[str, list[int]] = defaultdict(list)
        for text in self._ask("who", "-1", seconds=seconds).splitlines()[1:]:
            words = text.split()
            if len(words) >= 3 and words[2].isdigit():
                found[words[0]].append(int(words[2]))
        return found

    def kick(self, names: Sequence[str]) -> None:
        """End all open sessions of these mailboxes. May raise NoAnswer."""
        open_sessions = self.sessions()
        for name in names:
            if name not in open_sessions:
                continue
            if _LIKE_ADDRESS.match(name):
                # What doveadm kick does itself, since it cannot be told this name.
                for process in open_sessions[name]:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGTERM)
            else:
                # Its exit code says whether a session was still there: no news to us.
                self._run("kick", name)

    def usage(self, names: Sequence[str]) -> dict[str, Size]:
        """Count these mailboxes, all folders together, by Dovecot's indexes.

        A name that Dovecot does not know, or cannot count now, is missing from the answer.
        Raises NoAnswer if that is so of all of them because it is out of order.
        """
        # Of `doveadm quota get` the figures would be rounded to kilobytes.
        command = [*self.command, "-f", "tab", "mailbox", "status", "-t", "-F", "/dev/stdin"]
        text = "".join(f"{name}\n" for name in names)
        seconds = programs.PATIENCE + len(names)
        try:
            answer = programs.run([*command, "messages vsize", "*"], text, seconds=seconds)
        except programs.TimedOut as error:
            raise NoAnswer(str(error)) from error
        found: dict[str, Size] = {}
        for line in answer.out.splitlines()[1:]:
            name, messages, size = line.split("\t")
            found[name] = Size(int(messages), int(size))
        if answer.code and not found:
            raise NoAnswer(answer.err.partition("\n")[0] or "doveadm mailbox status fell silent")
        return found

    def has_unread(self, name: str, header: str, text: str) -> bool:
        """Say whether an unread message in the inbox has `text` in this header.

        May raise NoAnswer.
        """
        query = ("mailbox", "INBOX", "UNSEEN", "HEADER", header, text)
        return bool(self._ask("search", "-u", name, *query).strip())

    def save(self, name: str, message: bytes) -> None:
        """Put a message into the inbox, whatever the quota says. May raise NoAnswer."""
        # Without a quota root there is none to keep. Dovecot's indexes count it all the same.
        without = ["-o", "plugin/quota=", "-o", "plugin/quota_clone_dict="]
        command = [*self.command, *without, "save", "-u", name, "-m", "INBOX"]
        try:
            answer = programs.run(command, message)
        except programs.TimedOut as error:
            raise NoAnswer(str(error)) from error
        if answer.code:
            raise NoAnswer(answer.err or f"doveadm save ended with {answer.code}")

    def reload(self) -> None:
        """Read the configuration anew, sessions stay open. May raise NoAnswer."""
        self._ask("reload")

    def alive(self, seconds: float | None = None) -> bool:
        """Say whether Dovecot answers, and within `seconds`."""
        with suppress(NoAnswer):
            self.sessions(seconds)
            return True
        return False

    def run(self, *arguments: str, seconds: float | None = None) -> programs.Answer:
        """Run a command of doveadm(1) and return its answer, whatever its exit code.

        Raises NoAnswer when it does not end within `seconds`.
        """
        return self._run(*arguments, seconds=seconds)

    def _ask(self, *arguments: str, seconds: float | None = None) -> str:
        answer = self._run(*arguments, seconds=seconds)
        if answer.code:
            raise NoAnswer(answer.err or f"doveadm {arguments[0]} ended with {answer.code}")
        return answer.out

    def _run(self, *arguments: str, seconds: float | None = None) -> programs.Answer:
        try:
            return programs.run([*self.command, *arguments], seconds=seconds)
        except programs.TimedOut as error:
            raise NoAnswer(str(error)) from error


def users(asked: Asked) -> dict[str, User]:
    """Return the mailboxes that exist of those asked for. Raises NoAnswer.

    doveadm prints a line for each that exists and says of each other that it
    does not; with a name missing from both, it could not tell.
    """
    found: dict[str, User] = {}
    for names, answer in _answers(asked):
        lines = [text.split(" ") for text in answer.out.splitlines() if text]
        absent = _ABSENT.findall(answer.err)
        if len(lines) + len(absent) != len(names) or any(len(words) != 3 for words in lines):
            raise NoAnswer(answer.err.strip().partition("\n")[0] or "doveadm user fell silent")
        found |= {name: User(int(change), id_) for name, change, id_ in lines}
    return found


def _answers(asked: Asked) -> list[tuple[Sequence[str], programs.Answer]]:
    """Wait for all of them, also when one does not end, and leave none running."""
    answers, late = [], ""
    for names, running in asked:
        try:
            answers.append((names, running.answer()))
        except programs.TimedOut as error:
            late = str(error)
    if late:
        raise NoAnswer(late)
    return answers
