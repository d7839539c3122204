"""The events daemon of one mail server: it reads the log as Postfix writes it.

Nobody waits for it: mail flows as before while it is down, and it goes on where it was. At its
socket it says how far it is, after a look at the log's end.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path

from mailhost import serving
from mailhost.events.follower import Follower
from mailhost.paths import Paths

#: Seconds between two looks at the log.
PAUSE = 1.0
#: What the answer at the socket begins with; the newest event's number follows.
GREETING = b"events "
# Seconds until what went wrong is tried again, and between two rounds of forgetting.
_LATER, _OLD = 5.0, 600.0

# What may be wrong with the log or our file, for a while or for longer.
_TROUBLE = (OSError, EOFError, zlib.error, sqlite3.Error)

_log = logging.getLogger("mailhost.events")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return serving.run("events", root, _serve)


async def _serve(paths: Paths) -> None:
    ended = serving.told_to_end()
    with closing(Follower(paths)) as follower:

        async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while follower.turn():
                    await asyncio.sleep(0)
                writer.write(b"%s%d\n" % (GREETING, follower.last_number()))
                await writer.drain()
            except _TROUBLE as error:
                _log.error("not said: %s", error)
            finally:
                writer.close()

        listening = await serving.listen_for_lines(paths.events_socket, say)
        _log.info("ready")
        forgetting = asyncio.create_task(_forget(follower))
        try:
            await _follow(follower, ended)
        finally:
            forgetting.cancel()
            listening.close()
            with suppress(FileNotFoundError):
                paths.events_socket.unlink()
    _log.info("ended")


async def _follow(follower: Follower, ended: asyncio.Event) -> None:
    """Read on until the end; what goes wrong is tried again."""
    while not ended.is_set():
        pause = PAUSE
        try:
            if follower.turn():
                pause = 0.0
        except _TROUBLE as error:
            _log.error("tried again: %s", error)
            pause = _LATER
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), pause or 0.0001)


async def _forget(follower: Follower) -> None:
    """Forget what is old, a portion at a time."""
    while True:
        try:
            more = follower.forget()
        except sqlite3.Error as error:
            _log.error("not forgotten: %s", error)
            more = False
        await asyncio.sleep(PAUSE if more else _OLD)
