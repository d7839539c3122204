"""What the policy daemon does by itself, each second and each minute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from mailhost.dovecot import NoAnswer
from mailhost.policy.grants import Grants
from mailhost.policy.sessions import Sessions
from mailhost.policy.throttle import Throttle

#: Seconds between two looks for what the panel asked for, and between two rounds.
LOOK = 1.0
ROUND = 60.0

_log = logging.getLogger(__name__)


async def each(seconds: float, task: Callable[[], Awaitable[None]]) -> None:
    """Do something for ever, with so many seconds between; an error is logged."""
    while True:
        try:
            await task()
        except Exception:
            _log.exception("upkeep failed")
        await asyncio.sleep(seconds)


class Upkeep:
    """About logins: expiry, sessions that hold a way open, and blocks that the panel lifts."""

    def __init__(
        self,
        grants: Grants,
        throttle: Throttle,
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what is to be kept."""
        self._grants = grants
        self._throttle = throttle
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """Do it all for ever."""
        await asyncio.gather(each(LOOK, self.look), each(ROUND, self.round))

    async def look(self) -> None:
        """Lift the blocks that the panel asked for."""
        self._throttle.take_lifts(self._clock())

    async def round(self) -> None:
        """Let open sessions hold their ways open, then forget what is over."""
        await self._hold_open()
        self._throttle.expire(self._clock())
        for _ in self._grants.expire(self._clock()):
            # Mail goes before tidying.
            await asyncio.sleep(0)

    async def _hold_open(self) -> None:
        if not (ending := self._grants.ending(self._clock())):
            return
        try:
            there = await self._sessions.by_imap()
        except (NoAnswer, OSError) as error:
            _log.warning("open sessions are not known: %s", error)
            return
        for grant in ending:
            if (grant.account, grant.network) in there:
                self._grants.extend(grant, self._clock())
