"""What all our SQLite files have in common: transactions, and reading beside whoever writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Values named by one query.
_CHUNK = 500


def read_only(path: Path, patience: float) -> sqlite3.Connection:
    """Open a file that is there, to be read; `patience`: seconds to wait for another's writing."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=patience)


def among(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[Any]:
    """Yield the rows of a query that ends with "IN", for however many values."""
    for n in range(0, len(values), _CHUNK):
        chunk = values[n : n + _CHUNK]
        yield from db.execute(f"{query} ({', '.join('?' * len(chunk))})", chunk)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do all of the block or, if it raises, nothing; `db` has no isolation level of its own."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
