"""What our own daemons have in common: their log, their end, and sockets for one user alone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from mailhost.paths import Paths


def run(name: str, root: Path, serve: Callable[[Paths], Coroutine[Any, Any, None]]) -> int:
    """Have the daemon `name` serve the server in `root`, with a log; return the exit status."""
    paths = Paths(root)
    logging.basicConfig(
        filename=paths.log / f"{name}.log",
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
    )
    try:
        asyncio.run(serve(paths))
    except OSError as error:
        logging.getLogger(f"mailhost.{name}").error("cannot serve: %s", error)
        return 1
    return 0


def told_to_end() -> asyncio.Event:
    """Return what is set when SIGTERM or SIGINT comes."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


async def listen_for_lines(
    path: Path,
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> asyncio.Server:
    """Listen at a socket that only root can open, for those who speak by lines."""
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(talk, str(path))
    finally:
        os.umask(before)


async def listen(
    path: Path,
    connection: Callable[[], asyncio.BaseProtocol],
    user: int,
    group: int,
    backlog: int = 100,
) -> asyncio.Server:
    """Listen at a socket that only this user and root can open.

    `backlog`: connections that wait to be accepted.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        listening = await asyncio.get_running_loop().create_unix_server(
            connection, str(path), backlog=backlog
        )
    finally:
        os.umask(before)
    os.chown(path, user, group)
    return listening
