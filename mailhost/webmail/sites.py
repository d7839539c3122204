"""The domains that have webmail: a directory each, with settings and address books.

nginx serves a domain while its directory is in `sites`. One that no longer has webmail is moved
to `kept`, whole; it comes back from there if the same owner installs webmail again, and is
removed for good after a time. Whose a domain was when its directory was made stands beside it:
the domain may be gone, or be another's, when its webmail goes.

The directories belong to webmail's user: what is done there as root follows no link, and never
opens what lies in them.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailhost import grammar
from mailhost.config import HostConfig
from mailhost.paths import Paths, is_directory
from mailhost.webmail.places import SCHEMA


@dataclass(frozen=True, slots=True)
class Kept:
    """The settings of a domain whose webmail was removed at `removed_at`; `owner` as on record."""

    path: Path
    domain: str
    owner: str
    removed_at: datetime


class Sites:
    """The domains' directories on one server.

    All but the limits are to be changed only by who holds the server's lock.
    """

    def __init__(self, paths: Paths, config: HostConfig) -> None:
        """Name the server; nothing is read yet."""
        self._sites = paths.webmail / "sites"
        self._owners = paths.webmail / "owners"
        self._limits = paths.webmail / "limits"
        self._kept = paths.webmail / "kept"
        self._config = config

    def domains(self) -> list[str]:
        """Return the domains that are served, in the order of names."""
        if not is_directory(self._sites):
            return []
        names = (path.name for path in self._sites.iterdir())
        return sorted(name for name in names if grammar.DOMAIN.match(name))

    def place(self, domain: str) -> Path:
        """Return a domain's directory."""
        return self._sites / domain

    def can_be_settled(self) -> bool:
        """Say whether the directories are there; a server of an earlier version has none.

        `init` makes them.
        """
        return is_directory(self._sites)

    def settle(
        self,
        domains: Iterable[str],
        wanted: Collection[str],
        about: Callable[[str], tuple[str, int]],
        now: datetime,
    ) -> None:
        """Serve those of these domains that are wanted, and no other of them. Safe to repeat.

        `about` says of a domain that is new its owner ("": not known), and how many bytes a
        message of its accounts may have.
        """
        for domain in domains:
            served = is_directory(self.place(domain))
            if served and domain not in wanted:
                self._put_away(domain, now)
            elif domain in wanted and not served:
                owner, message_bytes = about(domain)
                self.say_limit(domain, message_bytes)
                self._put(domain, owner)

    def kept(self) -> Iterator[Kept]:
        """Yield the settings of removed webmails, the oldest first."""
        if not is_directory(self._kept):
            return
        for label in sorted(self._kept.glob("*.json")):
            # A label without its directory is what a kill, or a return, left.
            if is_directory(path := label.with_suffix("")):
                about = json.loads(label.read_text())
                removed_at = datetime.fromisoformat(about["removed_at"])
                yield Kept(path, about["domain"], about["owner"], removed_at)

    def prune(self, before: datetime) -> list[str]:
        """Remove for good what was removed before then; return the domains."""
        old = [kept for kept in self.kept() if kept.removed_at < before]
        for kept in old:
            # It follows no link, wherever the directory's owner has put one.
            shutil.rmtree(kept.path)
            kept.path.with_suffix(".json").unlink(missing_ok=True)
        return [kept.domain for kept in old]

    def say_limit(self, domain: str, message_bytes: int) -> None:
        """Let Roundcube know how large a message the domain's accounts may send."""
        file, text = self._limits / domain, f"{message_bytes}\n"
        with suppress(FileNotFoundError):
            if file.read_text() == text:
                return
        # The daemon and a worker may do so at the same time.
        new = self._limits / f".new-{os.getpid()}"
        new.write_text(text)
        new.chmod(0o644)
        new.replace(file)

    def _put(self, domain: str, owner: str) -> None:
        """Bring a domain's directory back, or make one."""
        grammar.check_domain(domain)
        (self._owners / domain).write_text(owner)
        mine = [kept for kept in self.kept() if (kept.domain, kept.owner) == (domain, owner)]
        # Of two that are not known nobody can say that they are the same.
        if owner and mine:
            mine[-1].path.rename(self._sites / domain)
            mine[-1].path.with_suffix(".json").unlink(missing_ok=True)
            return
        new = self._sites / ".new"
        if is_directory(new):
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        self._fill(new)
        new.rename(self._sites / domain)

    def _fill(self, new: Path) -> None:
        """Put into a directory, root's still, what each domain begins with."""
        user, group = self._config.webmail_uid, self._config.webmail_gid
        (new / "temp").mkdir(mode=0o700)
        _write_closed(new / "des_key", secrets.token_urlsafe(24))
        database = new / "webmail.db"
        _write_closed(database, "")
        # Without Roundcube here it makes the tables itself, once it is there.
        with suppress(FileNotFoundError):
            tables = SCHEMA.read_text()
            with closing(sqlite3.connect(database)) as db:
                db.executescript(tables)
        for path in (*new.iterdir(), new):
            os.chown(path, user, group)

    def _put_away(self, domain: str, now: datetime) -> None:
        """Stop serving a domain, and keep its settings for a while."""
        owner = ""
        with suppress(FileNotFoundError):
            owner = (self._owners / domain).read_text().strip()
        about = {"domain": domain, "owner": owner, "removed_at": now.astimezone(UTC).isoformat()}
        label = self._free_label(now)
        label.write_text(json.dumps(about) + "\n")
        (self._sites / domain).rename(label.with_suffix(""))
        for beside in (self._owners, self._limits):
            (beside / domain).unlink(missing_ok=True)

    def _free_label(self, now: datetime) -> Path:
        """Return the name of a new label; in the order of names they are in that of times."""
        moment = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}"
        names = (self._kept / f"{moment}-{number:06}.json" for number in itertools.count())
        return next(name for name in names if not name.exists())


def _write_closed(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
