"""One mail server, as the panel's worker sees it: hand over records, hear what became true.

A Host is a directory. What the server shall hold is written there by one
transaction first; Postfix's maps, open sessions and directories follow from it,
and whatever a crash leaves undone is remembered in that same transaction and
done by the next call.

What goes wrong with the server itself (its files, its store, a map that cannot be
written) is a HostError; callers need not know what the store is made of.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from mailhost import certificates, differences, homes, locks
from mailhost.batch import Batch, Outcome, Status
from mailhost.certificates import CertificateState
from mailhost.config import HostConfig, load_config
from mailhost.confirm import Confirmer
from mailhost.differences import Difference
from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.errors import HostError, host_errors
from mailhost.ftp import Ftp
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths, is_directory
from mailhost.records import Entry, HostedDomain, Record
from mailhost.replies import Scripts
from mailhost.settle import Settler
from mailhost.store import Store
from mailhost.webmail.holders import Holders
from mailhost.webmail.sites import Kept, Sites

__all__ = [
    "Busy",
    "CertificateState",
    "Difference",
    "Host",
    "HostError",
    "Outcome",
    "Status",
    "Trashed",
]


class Busy(HostError):
    """Another process holds this server's lock: come again later."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A deleted mailbox whose mail is still there. `name` is empty for a stray directory."""

    mailbox_id: str
    name: str
    address: str
    deleted_at: datetime


class Host:
    """One mail server's directory. Use one Host per process and thread."""

    def __init__(self, root: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Name the directory; nothing is opened yet. `now` tells the time of a deletion."""
        self.root = root.absolute()
        self.paths = Paths(self.root)
        self._now = now
        self._lock: int | None = None
        self._maps = Maps(self.paths)
        self._doveadm = Doveadm(self.paths)

    def __enter__(self) -> Self:
        """Close the store at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the store; the next call opens it again."""
        for name in ("_store", "_settler", "_ftp", "_sites", "_holders", "_scripts"):
            part = self.__dict__.pop(name, None)
            if isinstance(part, Store):
                part.close()

    @cached_property
    def config(self) -> HostConfig:
        """The server's settings. Raises ConfigError if there is no server here yet."""
        return load_config(self.root)

    @cached_property
    def _store(self) -> Store:
        load_config(self.root)
        return Store(self.paths.store)

    @cached_property
    def _ftp(self) -> Ftp:
        return Ftp(self.paths)

    @cached_property
    def _settler(self) -> Settler:
        return Settler(
            self.paths,
            self._store,
            self._maps,
            self._doveadm,
            self._ftp,
            self._sites,
            self._holders,
            self._scripts,
        )

    @cached_property
    def _holders(self) -> Holders:
        return Holders(self._sites, self.config)

    @cached_property
    def _scripts(self) -> Scripts:
        return Scripts(self.paths, self.config)

    @cached_property
    def _sites(self) -> Sites:
        return Sites(self.paths, self.config)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the server's lock. Raises Busy at once if another process has it.

        The kernel frees it when this process dies, but not before a postmap that
        this process had started has ended as well.
        """
        load_config(self.root)
        with host_errors():
            descriptor = locks.take(self.paths.lock)
        if descriptor is None:
            raise Busy(f"another process is at work on {self.root}")
        self._lock = descriptor
        self._maps.keep = (descriptor,)
        try:
            yield
        finally:
            self._lock = None
            self._maps.keep = ()
            os.close(descriptor)

    @host_errors()
    def apply(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """Bring the server to `entries` and say for each key what became of it.

        To be called with the lock held. Of several entries of one key the newest
        counts. The same batch again changes nothing and has the same outcomes; an
        empty one finishes what a killed worker left undone. HostError if that cannot be
        done now, such as a full disk: call again, the store knows how far it came.
        """
        self._require_lock()
        problem = self._settler.settle()
        batch = Batch(self._store, entries)
        with Confirmer(
            self._store,
            self._maps,
            self._doveadm,
            self._ftp,
            self._scripts,
            self.config.webmail_port,
        ) as confirmer:
            if batch.write(self.config.hostname, self._now()):
                confirmer.ask_ahead(batch.taken)
                problem = self._settler.settle()
            batch.confirm(confirmer, problem)
        return batch.outcomes | self._without_home(batch.taken)

    def _without_home(self, entries: Iterable[Entry]) -> dict[str, Outcome]:
        """Make the homes of these domains where they are missing; return those that have none."""
        failed: dict[str, Outcome] = {}
        for entry in entries:
            if isinstance(entry.record, HostedDomain) and entry.record.home:
                try:
                    homes.make(self._homes_root, self.config, entry.record.home)
                except homes.HomeError as error:
                    failed[entry.key] = Outcome(Status.UNCONFIRMED, str(error))
        return failed

    @property
    def _homes_root(self) -> Path:
        return homes.root_of(self.root, self.config)

    def records(self) -> Iterator[Entry]:
        """Yield every live record with its change number, in the order of keys."""
        with host_errors():
            yield from self._store.records.live()

    @host_errors()
    def record(self, key: str) -> tuple[int, Record | None]:
        """Return the number of the change that last wrote or deleted `key`, and its record.

        None for a deleted one; (0, None) for a key of which the server never heard.
        """
        return self._store.records.read(key)

    @host_errors()
    def highest_change(self) -> int:
        """Return the highest change number the server has taken, 0 if none."""
        return self._store.records.highest_change()

    @host_errors()
    def trash(self) -> list[Trashed]:
        """Return the deleted mailboxes, oldest first."""
        return [Trashed(*row) for row in self._store.trash.all()]

    @host_errors()
    def purge(self, mailbox_ids: Iterable[str]) -> None:
        """Remove deleted mailboxes for good and free their addresses. Needs the lock.

        An id that is not in the trash is passed over. HostError at the end names those
        that could not be removed; they stay in the trash.
        """
        self._require_lock()
        self._settler.settle()
        doomed = [id_ for id_ in mailbox_ids if self._store.trash.details(id_) is not None]
        failed: dict[str, str] = {}
        for mailbox_id in doomed:
            try:
                self._remove(mailbox_id)
                details = self._store.trash.details(mailbox_id) or {}
                self._holders.forget(details.get("address", ""), mailbox_id)
            except OSError as error:
                failed[mailbox_id] = error.strerror or str(error)
        with self._store.transaction():
            self._store.remove_trash([id_ for id_ in doomed if id_ not in failed])
        self._settler.settle()
        if failed:
            reasons = ", ".join(f"{id_} ({reason})" for id_, reason in failed.items())
            raise HostError(f"not removed from the trash: {reasons}")

    @host_errors()
    def kept_webmail(self) -> list[Kept]:
        """Return the settings of webmails that were removed, the oldest first."""
        return list(self._sites.kept())

    @host_errors()
    def prune_webmail(self, before: datetime) -> list[str]:
        """Remove for good the settings of webmails removed before then. Needs the lock.

        Returns the domains.
        """
        self._require_lock()
        return self._sites.prune(before)

    @host_errors()
    def lookup(self, address: str) -> list[str]:
        """Return where mail for `address` goes in the end, in lower case; [] if it is refused."""
        ends: dict[str, None] = {}
        seen = {address}
        waiting = [address]
        while waiting:
            node = waiting.pop(0)
            following = self._store.leads_to(node)
            if node in following or (not following and node != address):
                ends[node] = None
            waiting += [other for other in following if other not in seen]
            seen.update(following)
        return list(ends)

    @host_errors()
    def differences(self) -> list[Difference]:
        """Compare the store with maps, projections and directories.

        Take the lock first, or a batch under way shows up as well.
        """
        return [
            *differences.of_projections(self._store),
            *differences.of_maps(self._store, self._maps),
            *differences.of_ftp(self._store, self._ftp),
            *differences.of_directories(self._store, self.paths),
            *differences.of_homes(self._store, self._homes_root),
            *differences.of_webmail(self._store, self._sites),
            *differences.of_replies(self._store, self._scripts),
        ]

    @host_errors()
    def repair(self) -> list[Difference]:
        """Mend what differences() finds and return it. Needs the lock.

        Directories that belong to no mailbox go to the trash, nothing is deleted.
        """
        self._require_lock()
        self._settler.settle()
        found = self.differences()
        if _tables(found):
            with self._store.bulk():
                self._store.projections.anew()
        for name in NAMES:
            if _tables(found) or any(item.where == f"map {name}" for item in found):
                self._maps.rebuild(name, self._store.lines.source(name))
        self._store.ftp.mark_dirty(item.key for item in found if item.where == "ftp")
        self._store.webmail.mark_dirty(item.key for item in found if item.where == "webmail")
        self._store.replies.mark_dirty(self._replies_in(found))
        self._trash_strays()
        if any(item.where == "home" for item in found):
            for _, home in self._store.projections.homes():
                # What stands in its way the operator has to move: it is found again.
                with suppress(homes.HomeError):
                    homes.make(self._homes_root, self.config, home)
        self._settler.settle()
        return found

    @host_errors()
    def install_certificates(self) -> dict[str, CertificateState]:
        """Bring the certificates of hosted domains into service. Needs the lock.

        Returns the state of every hosted domain that has a directory of
        certificates. One that would not serve is left out, and the one installed
        before it stays until it expires: then the state has both its date and the
        problem.
        """
        self._require_lock()
        source = Path(self.config.certificates or self.root / "certs")
        states, changed = certificates.install(
            self.paths, self._maps, source, self._store.projections.hosted_domains(), self._now()
        )
        if changed:
            self._reload_dovecot()
            certificates.installed(self.paths)
        return states

    @host_errors()
    def load(self, records: Iterable[Record]) -> int:
        """Fill the server fast with records, unconfirmed, for benches. Needs the lock.

        Returns the last change number used.
        """
        self._require_lock()
        first = self._store.records.highest_change() + 1
        with self._store.bulk():
            last = self._store.load(records, first)
        for name in NAMES:
            self._maps.rebuild(name, self._store.lines.source(name))
        self._settler.settle()
        self._reload_dovecot()
        return last

    def _reload_dovecot(self) -> None:
        # One that is not running reads everything when it starts.
        with suppress(NoAnswer):
            self._doveadm.reload()

    def _require_lock(self) -> None:
        if self._lock is None:
            raise RuntimeError("to be called with the server's lock held")

    def _remove(self, mailbox_id: str) -> None:
        """Remove a deleted mailbox's files for good. A link goes, what it leads to stays."""
        path = self.paths.trashed(mailbox_id)
        if is_directory(path):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self.paths.label(mailbox_id).unlink(missing_ok=True)

    def _replies_in(self, found: Iterable[Difference]) -> list[str]:
        """Return the mailboxes whose auto-reply differs; scripts of none go along with any."""
        ids = [item.key for item in found if item.where == "auto-reply"]
        return [self._store.name_of(mailbox_id) or mailbox_id for mailbox_id in ids]

    def _trash_strays(self) -> None:
        for path in list(differences.strays(self._store, self.paths)):
            if path.parent == self.paths.trash:
                self._store.trash.add_stray(path.name, self._now())
            else:
                self._settler.set_aside(path, self._now())


def _tables(found: Iterable[Difference]) -> bool:
    return any(item.where.startswith("table ") for item in found)
