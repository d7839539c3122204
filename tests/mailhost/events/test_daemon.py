"""The daemon goes on whatever the log holds, and nobody who asks it is left waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import zlib
from pathlib import Path

import pytest

from mailhost.events import daemon
from mailhost.events.follower import Follower
from mailhost.paths import Paths
from tests.mailhost.events.logs import Log


@pytest.mark.parametrize(
    "error",
    [zlib.error("damaged"), EOFError("cut"), OSError("disk"), sqlite3.OperationalError("x")],
)
def test_trouble_ends_neither_the_daemon_nor_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    log = Log(tmp_path)
    turn, times = Follower.turn, [0]

    def fail_three_times(follower: Follower) -> bool:
        times[0] += 1
        if times[0] <= 3:
            raise error
        return turn(follower)

    monkeypatch.setattr(Follower, "turn", fail_three_times)
    monkeypatch.setattr(daemon, "_LATER", 3600.0)
    answers = asyncio.run(_asked(log.paths, 3))
    assert answers == [b"", b"", b"events 0\n"]


async def _asked(paths: Paths, times: int) -> list[bytes]:
    """Run the daemon, ask it, and end it."""
    serving = asyncio.create_task(daemon._serve(paths))
    while not paths.events_socket.exists():
        await asyncio.sleep(0.01)
    answers = [await asyncio.wait_for(_answer(paths), 30) for _time in range(times)]
    assert not serving.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 30)
    return answers


async def _answer(paths: Paths) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(paths.events_socket))
    answer = await reader.read()
    writer.close()
    return answer
