"""Auto-replies: a Sieve script for each mailbox that has one, run by Dovecot at delivery.

A script is made of a record that has passed its grammar, written and compiled here, as root, where
no customer can put a file; Dovecot finds it by the mailbox's id. What a vacation action does by
itself (RFC 5230): no answer to a null or daemon's sender, to lists (List-...), to what is
Auto-Submitted, to who wrote to none of the mailbox's addresses, nor twice within the days. The
script asks the rest, and how much the mailbox has answered in the last hour: no limit of sending
counts an answer, and who is answered says only himself who he is.
The answer leaves with a null sender, by a port of Postfix's for nothing else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from mailhost import grammar, programs
from mailhost.config import HostConfig
from mailhost.errors import HostError
from mailhost.paths import Paths
from mailhost.records import MAX_REPLIES_AN_HOUR
from mailhost.store.replies import Reply

# What lists, mailings and machines write into their heads, beside what RFC 5230 has a server ask.
_NOBODY_IN_PERSON = (
    "list-id", "list-post", "list-help", "list-unsubscribe", "list-subscribe", "list-owner",
    "list-archive", "feedback-id", "x-auto-response-suppress", "x-autoreply", "x-autorespond",
    "x-mailing-list", "x-loop",
)  # fmt: skip
_HOUR = 3600


class ReplyError(HostError):
    """An auto-reply could not be put in place; the message says why."""


def script(reply: Reply, zone: str) -> str:
    """Return the Sieve script of an auto-reply. `zone`: the server's, of which its days are."""
    record = reply.record
    # Built around its checks, a record would be checked here.
    record.__post_init__()
    for address in reply.addresses:
        grammar.check_address(address)
    silent = [
        'envelope :is "from" ""',
        _any_of(_NOBODY_IN_PERSON),
        'header :contains "precedence" ["bulk", "list", "junk", "auto_reply"]',
        'allof (exists "auto-submitted", not header :is "auto-submitted" "no")',
        'header :contains "x-spam-flag" "yes"',
    ]
    if record.starts:
        silent.append(f"not {_day('ge', record.starts, zone)}")
    if record.ends:
        silent.append(f"not {_day('le', record.ends, zone)}")
    return "\r\n".join(
        [
            'require ["vacation", "date", "relational", "envelope", "duplicate"];',
            f"if not anyof ({', '.join(silent)}) {{",
            f"if allof (not {_wrote_lately(reply)}, {_may_answer()}) {{",
            f"vacation :days {record.days} :subject {_text(record.subject)}",
            f":addresses [{_many(reply.addresses)}]",
            f":handle {_text(_handle(reply))}",
            f"{_text(record.text)};",
            "}",
            "}",
            "",
        ]
    )


def _any_of(headers: Iterable[str]) -> str:
    """Return the test for a message that has one of these: `exists` wants all."""
    return ", ".join(f"exists {_text(header)}" for header in headers)


def _day(relation: str, day: str, zone: str) -> str:
    """Return the test for today's date, as it is where the server's clock hangs on that day."""
    offset = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).strftime("%z")
    return f'currentdate :zone "{offset}" :value "{relation}" "date" "{day}"'


def _wrote_lately(reply: Reply) -> str:
    """Return the test for a From line that was answered within the hour.

    Else one machine that writes each minute would use up what there is for all others.
    """
    handle = _text(f"from {_handle(reply)}")
    return f'duplicate :handle {handle} :header "from" :seconds {_HOUR}'


def _may_answer() -> str:
    """Return the test for a free one of the mailbox's answers of an hour (RFC 7352).

    A free one is taken by being asked for, once the script has run to its end; `anyof` asks for
    no other then. Dovecot keeps who asks at the same moment waiting. The names are the same for
    every text: a new one brings no more.
    """
    slots = (
        f'not duplicate :handle "answers" :uniqueid "{number}" :seconds {_HOUR}'
        for number in range(1, MAX_REPLIES_AN_HOUR + 1)
    )
    return f"anyof ({', '.join(slots)})"


def _handle(reply: Reply) -> str:
    """Return what an answer is remembered by: who got one gets another once it says otherwise."""
    record = reply.record
    said = "\0".join((record.mailbox_id, record.subject, record.text, record.starts, record.ends))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _many(texts: Iterable[str]) -> str:
    return ", ".join(map(_text, texts))


def _text(text: str) -> str:
    """Return a quoted string (RFC 5228, 2.4.2): of all characters two mean something in it."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\r\n")
    return f'"{quoted}"'


class Scripts:
    """The scripts of one server. To be changed only by who holds the server's lock."""

    def __init__(self, paths: Paths, config: HostConfig) -> None:
        """Name the server; nothing is read yet."""
        self._paths = paths
        self._config = config

    def settle(self, mailbox_ids: Iterable[str], wanted: dict[str, Reply]) -> dict[str, str]:
        """Let each of these mailboxes have the script that is wanted, or none. Safe to repeat.

        Return why, by mailbox, where Dovecot's compiler refuses one: that mailbox has none then.
        """
        problems = {}
        for mailbox_id in mailbox_ids:
            reply = wanted.get(mailbox_id)
            if reply is None:
                self._remove(mailbox_id)
            elif self.found(mailbox_id) != self.line(reply):
                try:
                    self._write(mailbox_id, script(reply, self._config.time_zone))
                except ReplyError as error:
                    problems[mailbox_id] = str(error)
        return problems

    def line(self, reply: Reply) -> str:
        """Return what `found` shall say of an auto-reply."""
        return _digest(script(reply, self._config.time_zone).encode())

    def found(self, mailbox_id: str) -> str:
        """Return what a mailbox's script is, in short; "" where Dovecot finds none ready."""
        source = self._paths.reply(mailbox_id)
        try:
            written, compiled = source.read_bytes(), source.with_suffix(".svbin").stat()
        except OSError:
            return ""
        return _digest(written) if compiled.st_mtime_ns >= source.stat().st_mtime_ns else ""

    def ids(self) -> set[str]:
        """Return the mailboxes that have a script, or a part of one."""
        names = {path.stem for path in self._paths.replies.glob("*.*")}
        return {name for name in names if grammar.MAILBOX_ID.match(name)}

    def all(self) -> Iterator[tuple[str, str]]:
        """Yield the mailboxes that have a script, and what it is in short, in order."""
        for mailbox_id in sorted(self.ids()):
            yield mailbox_id, self.found(mailbox_id)

    def _remove(self, mailbox_id: str) -> None:
        for suffix in (".sieve", ".svbin", ".new", ".compiled"):
            self._paths.reply(mailbox_id).with_suffix(suffix).unlink(missing_ok=True)

    def _write(self, mailbox_id: str, text: str) -> None:
        """Write a script and compile it.

        What is compiled counts only for the path it was compiled at. A delivery in between takes
        the script itself.
        """
        source = self._paths.reply(mailbox_id)
        new, compiled = source.with_suffix(".new"), source.with_suffix(".compiled")
        self._put(new, text.encode())
        new.replace(source)
        command = ["sievec", "-c", str(self._paths.dovecot_conf), str(source), str(compiled)]
        answer = programs.run(command)
        if answer.code:
            self._remove(mailbox_id)
            raise ReplyError(f"the auto-reply of {mailbox_id}: {answer.err or answer.out}")
        self._own(compiled)
        compiled.replace(source.with_suffix(".svbin"))

    def _put(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)
        self._own(path)

    def _own(self, path: Path) -> None:
        """Let Dovecot's delivery read a file, and nobody change it."""
        os.chown(path, 0, self._config.mail_gid)
        path.chmod(0o640)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
