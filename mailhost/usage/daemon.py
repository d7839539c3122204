"""The usage daemon of one mail server: Dovecot tells it which mailbox changed, it has it counted.

Dovecot's figures, as its quota_clone plugin pushes them, can be wrong for good after many
deliveries at once. So they are but marks; the figure is then asked of Dovecot itself.

A mark need not be on the disk when Dovecot is answered: the database knows until when all that
came is in it, and what changed after that is found by the mailboxes' directories.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

from mailhost.config import HostConfig, load_config
from mailhost.paths import Paths
from mailhost.usage.dict import Connection
from mailhost.usage.keeper import Keeper, Marks

# Connections that wait to be accepted: one for each delivery.
_BACKLOG = 512

_log = logging.getLogger("mailhost.usage")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    paths = Paths(root)
    logging.basicConfig(
        filename=paths.log / "usage.log",
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
    )
    try:
        asyncio.run(_serve(paths))
    except OSError as error:
        _log.error("cannot serve: %s", error)
        return 1
    return 0


async def _serve(paths: Paths) -> None:
    config = load_config(paths.root)
    marks = Marks()
    keeper = Keeper(paths, marks)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    listening = await _listen(paths.usage_socket, marks, config)
    keeper.start()
    _log.info("ready")
    await ended.wait()
    listening.close()
    await asyncio.to_thread(keeper.stop)
    with suppress(FileNotFoundError):
        paths.usage_socket.unlink()
    _log.info("ended")


async def _listen(path: Path, marks: Marks, config: HostConfig) -> asyncio.Server:
    """Listen where Dovecot's processes, which run as the owner of all mail, tell of changes."""
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        listening = await asyncio.get_running_loop().create_unix_server(
            partial(Connection, marks.add), str(path), backlog=_BACKLOG
        )
    finally:
        os.umask(before)
    os.chown(path, config.mail_uid, config.mail_gid)
    return listening
