"""Sets of UIDs as IMAP writes them (RFC 9051, sequence-set): "1:50,53"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: The largest UID there can be.
LARGEST = 2**32 - 1
#: Messages named in one set, and characters of one that is sent back by a form.
MOST = 200_000
LONGEST = 1_000_000
# As many fit into a command line of Dovecot's, 64 KB, with ten digits each.
_CHUNK = 5000

_SET = re.compile(r"\A\d{1,10}(?::\d{1,10})?(?:,\d{1,10}(?::\d{1,10})?)*\Z", re.ASCII)


def write(uids: Iterable[int]) -> str:
    """Return the shortest text for these UIDs, in order."""
    return ",".join(_ranges(uids))


def chunks(uids: Iterable[int]) -> Iterator[list[int]]:
    """Yield all of them, in order, as many at a time as one command can name."""
    ordered = sorted(set(uids))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def read(text: str) -> list[int]:
    """Return the UIDs of a text, in order and each once. ValueError for what is no such text."""
    if len(text) > LONGEST or not _SET.match(text):
        raise ValueError("no set of UIDs")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= LARGEST or high - low >= MOST:
            raise ValueError("no UIDs")
        found.update(range(low, high + 1))
        if len(found) > MOST:
            raise ValueError("too many UIDs")
    return sorted(found)


def _ranges(uids: Iterable[int]) -> Iterator[str]:
    first = last = 0
    for uid in sorted(set(uids)):
        if first and uid == last + 1:
            last = uid
            continue
        if first:
            yield _range(first, last)
        first = last = uid
    if first:
        yield _range(first, last)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}:{last}"
