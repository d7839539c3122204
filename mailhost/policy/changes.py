"""Numbers of rows, by which another process finds what has changed since it last looked."""

from __future__ import annotations


class Changes:
    """Numbers that only grow, also over a restart after which the newest rows are gone."""

    def __init__(self, highest: int, now: float) -> None:
        """Begin above the highest number on record, and above any given before `now`."""
        self._last = max(highest, int(now * 1_000_000))

    def next(self) -> int:
        """Return the number for a row that is written now."""
        self._last += 1
        return self._last
