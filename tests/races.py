"""Instants, forced: real threads with a database connection of their own each.

`at_once` starts several actions together; `meeting` makes them meet at a chosen
point inside. Where a lock keeps one of them from coming there, the other goes on
after a moment: that is the worst order the lock leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from threading import Barrier, BrokenBarrierError, Event, Thread
from typing import Any

import pytest
from django.db import connection

PATIENCE = 0.7  # seconds for which one waits for another that a lock may hold back


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Start the actions together; return what each returned, or the exception that ended it."""
    start = Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        start.wait(20)
        try:
            return action()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(60) for future in [pool.submit(run, action) for action in actions]]


def meeting(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool = False
) -> list[bool]:
    """Let two threads meet before (or after) a function; return who came, as it happens."""
    barrier, original, came = Barrier(2), getattr(owner, name), []

    def meet() -> None:
        with suppress(BrokenBarrierError):
            came.append(True)
            barrier.wait(PATIENCE)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not after:
            meet()
        result = original(*args, **kwargs)
        if after:
            meet()
        return result

    monkeypatch.setattr(owner, name, wrapped)
    return came


class Meanwhile:
    """Something that another thread does while this one stands still."""

    def __init__(self, action: Callable[[], Any]) -> None:
        """Take what is to be done."""
        self.action = action
        self.outcome: Any = None
        self._done = Event()
        self._thread = Thread(target=self._run)

    def begin(self) -> None:
        """Start it, and go on when it has ended or plainly waits for a lock."""
        self._thread.start()
        self._done.wait(PATIENCE)

    def ended(self) -> Any:
        """Wait until it has ended; return its result or exception."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome

    def _run(self) -> None:
        try:
            self.outcome = self.action()
        except Exception as error:
            self.outcome = error
        finally:
            connection.close()
            self._done.set()
