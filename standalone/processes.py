"""Ending a whole family of processes, whatever its members did to get away.

Linux lets a process adopt its orphaned descendants (prctl(2), PR_SET_CHILD_SUBREAPER) and lets one
ask to be signalled when its parent dies (PR_SET_PDEATHSIG). Elsewhere these do nothing.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: signal.Signals) -> None:
    """Have the kernel send this process `signum` when its parent dies, even by kill -9."""
    _prctl(PR_SET_PDEATHSIG, signum)


def descendants(ancestor: int) -> set[int]:
    """Return the process ids of all that descend from `ancestor`, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may itself hold parentheses and spaces: proc(5).
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found: set[int] = set()
    look_at = [ancestor]
    while look_at:
        for child in children.get(look_at.pop(), []):
            found.add(child)
            look_at.append(child)
    return found


def end_descendants(*, patience: float) -> set[int]:
    """End whatever still descends from this process: SIGTERM, then SIGKILL after `patience` s.

    Return the ids that were met. Harmless to call when there are none.
    """
    met = descendants(os.getpid())
    for signum, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + seconds
        _signal_all(descendants(os.getpid()), signum)
        while (left := descendants(os.getpid())) and time.monotonic() < until:
            met |= left
            _reap()
            time.sleep(0.05)
    _reap()
    return met


def _signal_all(pids: set[int], signum: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
