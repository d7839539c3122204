"""Copies of mail that wait in Postfix's queue because a mailbox here is full.

Dovecot refuses such a copy for the time being (`quota_full_tempfail`), and Postfix tries it
again for eight days, so that a Wednesday falls within.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailhost import programs
from mailhost.config import load_config
from mailhost.errors import HostError, host_errors
from mailhost.paths import Paths
from mailhost.store import limits
from mailhost.usage import figures
from mailhost.usage.counting import Boxes

# What Postfix notes of Dovecot's answer: its socket, as main.cf names it, and the words of
# dovecot.conf. RFC 3463: 4.2.2 is a full mailbox.
_HOP, _ANSWER = "[private/dovecot-lmtp] said: 452 4.2.2 ", f"> {limits.FULL}"


class WaitingError(HostError):
    """Postfix's queue cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A copy that waits; `sender` is the envelope's, "" for notices of other mail servers.

    `size` is in bytes, `arrived` in UNIX seconds.
    """

    queue_id: str
    account: str
    domain: str
    sender: str
    size: int
    arrived: float


@host_errors()
def waiting(root: Path) -> list[Waiting]:
    """Return the copies that wait for a full mailbox of this server, the oldest first.

    Raises WaitingError. What Postfix is trying at this very moment is not among them.
    """
    paths = Paths(root.absolute())
    load_config(paths.root)
    found: list[Waiting] = []
    with closing(Boxes(paths.store)) as boxes:
        for entry in _queue(paths):
            for recipient in entry["recipients"]:
                reason = recipient.get("delay_reason", "")
                if _HOP not in reason or _ANSWER not in reason:
                    continue
                if box := boxes.at(recipient["address"].lower()):
                    found.append(_copy(entry, box.account, box.domain))
    return sorted(found, key=lambda copy: (copy.arrived, copy.queue_id))


def flush(root: Path, names: Iterable[str]) -> int:
    """Have Postfix try the copies that wait for these mailboxes at once; return how many."""
    wanted = set(names)
    return _try(root, [copy for copy in waiting(root) if copy.account in wanted]) if wanted else 0


def flush_where_room(root: Path) -> int:
    """Have Postfix try the copies for mailboxes that are not full (any more); return how many.

    One that was being tried when room was made, or that found a mailbox full of which nobody had
    known it yet, would wait for Postfix's own next try.
    """
    full = {known.account for known in figures.full(root)}
    return _try(root, [copy for copy in waiting(root) if copy.account not in full])


def _try(root: Path, copies: Sequence[Waiting]) -> int:
    ids = {copy.queue_id: None for copy in copies}
    for queue_id in ids:
        _run(Paths(root.absolute()), "-i", queue_id)
    return len(ids)


def _copy(entry: dict[str, Any], account: str, domain: str) -> Waiting:
    return Waiting(
        queue_id=entry["queue_id"],
        account=account,
        domain=domain,
        # postqueue(1) names a notice's sender so.
        sender="" if entry["sender"] == "MAILER-DAEMON" else entry["sender"],
        size=entry["message_size"],
        arrived=float(entry["arrival_time"]),
    )


def _queue(paths: Paths) -> Iterator[dict[str, Any]]:
    """Yield what postqueue(1) says of each message: an object of JSON on a line of its own."""
    for line in _run(paths, "-j").splitlines():
        try:
            yield json.loads(line)
        except ValueError as error:
            raise WaitingError(f"postqueue gave what is no JSON: {line[:200]!a}") from error


def _run(paths: Paths, *arguments: str) -> str:
    try:
        answer = programs.run(["postqueue", "-c", str(paths.postfix), *arguments])
    except programs.TimedOut as error:
        raise WaitingError(str(error)) from error
    if answer.code:
        raise WaitingError(answer.err.partition("\n")[0] or f"postqueue ended with {answer.code}")
    return answer.out
