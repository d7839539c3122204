"""The usage daemon of one mail server: Dovecot tells it which mailbox changed, it has it counted.

Dovecot's figures, as its quota_clone plugin pushes them, can be wrong for good after many
deliveries at once. So they are but marks; the figure is then asked of Dovecot itself.

A mark need not be on the disk when Dovecot is answered: the database knows until when all that
came is in it, and what changed after that is found by the mailboxes' directories.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from mailhost import serving
from mailhost.config import load_config
from mailhost.paths import Paths
from mailhost.usage.dict import Connection
from mailhost.usage.keeper import Keeper, Marks

# Connections that wait to be accepted: one for each delivery.
_BACKLOG = 512

_log = logging.getLogger("mailhost.usage")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return serving.run("usage", root, _serve)


async def _serve(paths: Paths) -> None:
    config = load_config(paths.root)
    marks = Marks()
    keeper = Keeper(paths, marks)
    ended = serving.told_to_end()
    # Dovecot's processes tell of changes as the owner of all mail.
    listening = await serving.listen(
        paths.usage_socket,
        partial(Connection, marks.add),
        config.mail_uid,
        config.mail_gid,
        backlog=_BACKLOG,
    )
    keeper.start()
    _log.info("ready")
    await ended.wait()
    listening.close()
    await asyncio.to_thread(keeper.stop)
    with suppress(FileNotFoundError):
        paths.usage_socket.unlink()
    _log.info("ended")
