"""What the store says and the outside world does not know yet: done here, in order.

Every step may be killed and is done again by the next call: what is left to do
is in the store, and is forgotten only once it is done.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths
from mailhost.processes import renew_postfix
from mailhost.store import Store

#: From this many keys on, building a map anew is quicker than changing it key by key.
REBUILD_FROM = 200
#: In a small map already from here on: postmap syncs the disk for each key (0.2 to 8 ms),
#: while this many rows are rebuilt in the quickest such time.
REBUILD_SMALL_FROM = 10
ROWS_PER_SYNC = 150

log = logging.getLogger(__name__)


class Settler:
    """Brings maps, sessions and directories of one server to what its store says."""

    def __init__(self, paths: Paths, store: Store, maps: Maps, doveadm: Doveadm) -> None:
        """Take what it works with. `instants` are called between steps, for tests."""
        self._paths = paths
        self._store = store
        self._maps = maps
        self._doveadm = doveadm
        self.at: Callable[[str], None] = lambda _instant: None

    def settle(self) -> str:
        """Do all that is left to do; return why sessions could not be ended, or "".

        MapError or OSError if a map could not be written.
        """
        self.at("committed")
        for mailbox_id in self._store.unsettled("restoring"):
            self._restore(mailbox_id)
        self._flush()
        self.at("flushed")
        problem = self._kick()
        self.at("kicked")
        for mailbox_id in self._store.unsettled("closing"):
            self._close(mailbox_id)
        return problem

    # Maps

    def _flush(self) -> None:
        dirty = self._store.lines.dirty()
        if not dirty:
            return
        anew = {name for name, keys in dirty.items() if self._quicker_anew(name, len(keys))}
        lines = {
            name: self._store.lines.of(name, keys)
            for name, keys in dirty.items()
            if name not in anew
        }
        # A mailbox before the address that leads to it, and a domain last: then nothing
        # of it is refused. Removals go the other way.
        for name in NAMES:
            if name in anew:
                self._maps.rebuild(name, self._store.lines.all(name))
            elif name in lines:
                self._maps.put(name, lines[name].items())
            self.at(f"added {name}")
        for name in reversed(NAMES):
            if name in lines:
                self._maps.delete(name, [key for key in dirty[name] if key not in lines[name]])
        if "domains" in dirty:
            renew_postfix(self._paths)
        self.at("removed")
        with self._store.transaction():
            for name in dirty:
                self._store.lines.forget_dirty(name)

    def _quicker_anew(self, name: str, changes: int) -> bool:
        if changes > REBUILD_FROM:
            return True
        rows = changes * ROWS_PER_SYNC
        return changes > REBUILD_SMALL_FROM and self._store.lines.at_most(name, rows)

    # Sessions

    def _kick(self) -> str:
        names = self._store.to_kick()
        if not names:
            return ""
        try:
            self._doveadm.kick(names)
        except NoAnswer as error:
            # Remembered for the next call. Mailboxes may close even so: nobody can log in.
            return f"open sessions could not be ended: {error}"
        self._store.forget_kicks(names)
        return ""

    # Directories

    def _restore(self, mailbox_id: str) -> None:
        source, target = self._paths.trashed(mailbox_id), self._paths.home(mailbox_id)
        if source.exists():
            self._clear(target)
            self._make_shard(mailbox_id)
            (source / "trashed.json").unlink(missing_ok=True)
            source.rename(target)
        self.at("moved back")
        self._store.restored(mailbox_id)

    def set_aside(self, home: Path, now: datetime) -> None:
        """Put a directory that belongs to no mailbox into the trash, under an id of its own."""
        mailbox_id = uuid4().hex
        self._store.trash.add_stray(mailbox_id, now)
        home.rename(self._paths.trashed(mailbox_id))

    def _close(self, mailbox_id: str) -> None:
        source, target = self._paths.home(mailbox_id), self._paths.trashed(mailbox_id)
        try:
            if source.exists() and not target.exists():
                source.rename(target)
            self.at("moved to trash")
            if target.exists():
                self._label(mailbox_id)
            self._clear(source)
        except OSError:
            # It stays closing, and no login finds it; the next call tries again.
            log.exception("mailbox %s could not be moved to the trash", mailbox_id)
            return
        self._store.closed(mailbox_id)

    def _clear(self, home: Path) -> None:
        """Put aside what mail already under way made anew where a mailbox was."""
        if home.exists():
            self.set_aside(home, datetime.now(UTC))

    def _label(self, mailbox_id: str) -> None:
        """Say beside the mail whose it was, for who has nothing but the directory."""
        details = self._store.trash.details(mailbox_id) or {}
        text = json.dumps({"mailbox_id": mailbox_id} | details, indent=2)
        (self._paths.trashed(mailbox_id) / "trashed.json").write_text(text + "\n")

    def _make_shard(self, mailbox_id: str) -> None:
        shard = self._paths.home(mailbox_id).parent
        if not shard.exists():
            shard.mkdir(mode=0o700)
            owner = self._paths.mail.stat()
            os.chown(shard, owner.st_uid, owner.st_gid)
