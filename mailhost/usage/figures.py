"""How full mailboxes are, for the panel's worker and the Wednesday job: as cheap as it can be.

Dovecot counts a mailbox; the usage daemon asks it whenever a mailbox has changed and keeps the
answer. What is read here are those answers, by an index, without a lock that the daemon would
wait for. Times are UNIX seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mailhost.errors import HostError

#: Rows that `read` returns at once: the first time all mailboxes are news.
MOST_ROWS = 2000


class FiguresError(HostError):
    """The figures cannot be read, or Dovecot cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mailbox held when Dovecot was asked, all folders together.

    `used` is counted with line ends of two bytes, as mail programs and Dovecot count;
    `limit` is the one in force on the server.
    """

    mailbox_id: str
    account: str
    domain: str
    used: int
    messages: int
    limit: int
    asked_at: float

    @property
    def full(self) -> bool:
        """Say whether new mail is refused from now on."""
        return self.used >= self.limit


@dataclass(frozen=True, slots=True)
class News:
    """What has changed; `cursor` is for the next time, at once if there is `more`."""

    rows: list[Usage]
    cursor: str
    more: bool


def read(root: Path, cursor: str = "") -> News:
    """Return what has changed since `cursor`, the oldest first; "": everything.

    At most MOST_ROWS at once. Everything comes anew where the figures were lost, and nothing
    before `init` and the daemon's first start. Raises FiguresError.
    """
    raise NotImplementedError


def of_account(root: Path, name: str) -> Usage | None:
    """Return what is known of the mailbox `name`, None if it was not counted yet."""
    raise NotImplementedError


def full(root: Path) -> list[Usage]:
    """Return the mailboxes at or above their limit, in the order of their names."""
    raise NotImplementedError


def recount(root: Path, names: Iterable[str] | None = None) -> int:
    """Ask Dovecot now about these mailboxes (None: all) and keep the answers; return how many.

    A name that is no mailbox here is passed over. FiguresError if Dovecot does not answer.
    """
    raise NotImplementedError
