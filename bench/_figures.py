"""How every script of bench/ is called, and how it prints what it measured."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence


def quick(description: str) -> bool:
    """Read the command line; say whether only the script itself is to be tried."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="tiny counts: shows that it runs, measures nothing"
    )
    return bool(parser.parse_args().quick)


def figure(name: str, value: float, unit: str) -> None:
    """Print one figure."""
    print(f"{name}: {value:.{_places(value)}f} {unit}".rstrip(), flush=True)


def spread(name: str, milliseconds: Sequence[float]) -> None:
    """Print the median of these times, and below how many of them 95 % lie."""
    figure(name, statistics.median(milliseconds), "ms")
    figure(f"{name}_p95", sorted(milliseconds)[int(0.95 * (len(milliseconds) - 1))], "ms")


def note(text: str) -> None:
    """Say on standard error what is going on."""
    print(f"# {text}", file=sys.stderr, flush=True)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def _places(value: float) -> int:
    return 0 if value >= 1000 or value == int(value) else 1 if value >= 100 else 2
