"""What changed while nobody listened: found by the times of the mailboxes' directories.

Whatever is delivered or deleted changes a directory of files, whichever way Dovecot keeps mail.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailhost.paths import Paths, is_directory
from mailhost.usage.database import Box

# Directories of nothing but files, and how deep others may lie below a home.
_LEAVES = frozenset(("cur", "new", "tmp", "dbox-Mails"))
_DEEPEST = 20


def changed_since(paths: Paths, boxes: Iterable[Box], since: float) -> Iterator[str]:
    """Yield the names of the mailboxes in whose directories something came or went."""
    for box in boxes:
        home = paths.home(box.mailbox_id)
        if is_directory(home) and any(when >= since for when in _times(home, _DEEPEST)):
            yield box.account


def _times(directory: Path | str, depth: int) -> Iterator[float]:
    """Yield when each directory below this one was changed; no link is followed."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if entry.name in _LEAVES:
                    yield entry.stat(follow_symlinks=False).st_mtime
                elif depth:
                    yield from _times(entry.path, depth - 1)
    except (FileNotFoundError, NotADirectoryError):
        # It never had mail, or has gone meanwhile.
        return
