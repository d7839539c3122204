"""What the store says and the outside world does not know yet: done here, in order.

Every step may be killed and is done again by the next call: what is left to do
is in the store, and is forgotten only once it is done.

All below `mail` belongs to the mail user, who may have put a link anywhere in it:
what is done there as root follows none.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.ftp import Ftp, FtpError
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths, is_directory
from mailhost.processes import renew_postfix
from mailhost.replies import Scripts
from mailhost.ssh import control
from mailhost.store import Store
from mailhost.webmail.holders import Holders
from mailhost.webmail.sites import Sites

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

log = logging.getLogger(__name__)


class Settler:
    """Brings maps, sessions and directories of one server to what its store says."""

    def __init__(
        self,
        paths: Paths,
        store: Store,
        maps: Maps,
        doveadm: Doveadm,
        ftp: Ftp,
        sites: Sites,
        holders: Holders,
        scripts: Scripts,
    ) -> None:
        """Take what it works with. `instants` are called between steps, for tests."""
        self._sites = sites
        self._holders = holders
        self._scripts = scripts
        self._paths = paths
        self._store = store
        self._maps = maps
        self._doveadm = doveadm
        self._ftp = ftp
        self.at: Callable[[str], None] = lambda _instant: None

    def settle(self) -> str:
        """Do all that is left to do; return why sessions could not be ended, or "".

        MapError or OSError if a map could not be written.
        """
        self.at("committed")
        for mailbox_id in self._store.unsettled("restoring"):
            self._restore(mailbox_id)
        self._flush()
        self._write_ftp()
        self._write_replies()
        self._serve_webmail()
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
        lines = {name: self._store.lines.of(name, keys) for name, keys in dirty.items()}
        # A mailbox before the address that leads to it, and a domain last: then nothing
        # of it is refused. Removals go the other way.
        for name in NAMES:
            self._maps.put(name, lines.get(name, {}).items())
            self.at(f"added {name}")
        for name in reversed(NAMES):
            gone = [key for key in dirty.get(name, ()) if key not in lines[name]]
            self._maps.delete(name, gone)
        if "domains" in dirty:
            renew_postfix(self._paths)
        self.at("removed")
        with self._store.transaction():
            for name in dirty:
                self._store.lines.forget_dirty(name)

    # FTP

    def _write_ftp(self) -> None:
        names = self._store.ftp.dirty()
        if not names:
            return
        self._ftp.put(names, self._store.ftp.of(names))
        self.at("ftp written")
        self._store.ftp.forget_dirty()

    # Webmail

    def _serve_webmail(self) -> None:
        domains = self._store.webmail.dirty()
        if not domains or not self._sites.can_be_settled():
            return
        wanted = self._store.webmail.of(domains)
        self._sites.settle(domains, wanted, self._store.about, datetime.now(UTC))
        self.at("webmail served")
        self._store.webmail.forget_dirty()

    # Auto-replies

    def _write_replies(self) -> None:
        names = self._store.replies.dirty()
        if not names:
            return
        replies = filter(None, map(self._store.replies.of, names))
        wanted = {reply.record.mailbox_id: reply for reply in replies}
        # Those of mailboxes that are gone, or that have another's name by now, go too.
        gone = {one for one in self._scripts.ids() if not self._store.replies.named(one)}
        problems = self._scripts.settle([*gone, *self._store.replies.ids_of(names)], wanted)
        self.at("replies written")
        # What was refused is tried again, and the check of its change says so.
        for problem in problems.values():
            log.error("%s", problem)
        refused = {wanted[mailbox_id].record.name for mailbox_id in problems}
        self._store.replies.forget_dirty(name for name in names if name not in refused)

    # Sessions

    def _kick(self) -> str:
        names = self._store.to_kick()
        if not names:
            return ""
        try:
            self._ftp.kick(names)
            control.kick(self._paths, names)
            self._doveadm.kick(names)
        except (NoAnswer, FtpError, control.ControlError) as error:
            # Remembered for the next call. Mailboxes may close even so: nobody can log in.
            return f"open sessions could not be ended: {error}"
        self._store.forget_kicks(names)
        return ""

    # Directories

    def _restore(self, mailbox_id: str) -> None:
        source, target = self._paths.trashed(mailbox_id), self._paths.home(mailbox_id)
        if is_directory(source):
            self._make_shard(target.parent)
            self._clear(target)
            with _opened(target.parent) as shard:
                os.rename(source, target.name, dst_dir_fd=shard)
        else:
            source.unlink(missing_ok=True)
        self.at("moved back")
        self._paths.label(mailbox_id).unlink(missing_ok=True)
        self._holders.bring_back(self._store.address_of(mailbox_id), mailbox_id)
        self._store.restored(mailbox_id)

    def set_aside(self, stray: Path, now: datetime) -> None:
        """Put what belongs to no mailbox into the trash, under an id of its own."""
        mailbox_id = uuid4().hex
        self._store.trash.add_stray(mailbox_id, now)
        with _opened(stray.parent) as parent:
            os.rename(stray.name, self._paths.trashed(mailbox_id), src_dir_fd=parent)

    def _close(self, mailbox_id: str) -> None:
        source, target = self._paths.home(mailbox_id), self._paths.trashed(mailbox_id)
        try:
            if not is_directory(target):
                target.unlink(missing_ok=True)
                if _holds(source, directory=True):
                    with _opened(source.parent) as shard:
                        os.rename(source.name, target, src_dir_fd=shard)
            self.at("moved to trash")
            if is_directory(target):
                self._label(mailbox_id)
            else:
                # It was a link, put there in the meantime.
                target.unlink(missing_ok=True)
            self._clear(source)
            self._holders.set_aside(self._store.address_of(mailbox_id), mailbox_id)
        except OSError:
            # It stays closing, and no login finds it; the next call tries again.
            log.exception("mailbox %s could not be moved to the trash", mailbox_id)
            return
        self._store.closed(mailbox_id)

    def _clear(self, home: Path) -> None:
        """Put aside what mail already under way made anew where a mailbox was."""
        if _holds(home):
            self.set_aside(home, datetime.now(UTC))

    def _label(self, mailbox_id: str) -> None:
        """Say beside the mail whose it was, for who has nothing but the directory."""
        details = self._store.trash.details(mailbox_id) or {}
        text = json.dumps({"mailbox_id": mailbox_id} | details, indent=2)
        label = self._paths.label(mailbox_id)
        new = label.with_name(label.name + ".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        new.replace(label)

    def _make_shard(self, shard: Path) -> None:
        if is_directory(shard):
            return
        self._clear(shard)
        shard.mkdir(mode=0o700)
        owner = self._paths.mail.stat()
        with _opened(shard) as descriptor:
            os.chown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Open a directory for the names in it; OSError if a link is there instead."""
    descriptor = os.open(directory, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _holds(path: Path, *, directory: bool = False) -> bool:
    """Say whether anything is there, or a directory; a link in its parent's place holds nothing."""
    try:
        with _opened(path.parent) as parent:
            found = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return stat.S_ISDIR(found.st_mode) if directory else True
