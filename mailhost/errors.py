"""What goes wrong on a mail server and its operator has to mend.

Each part has its own kind (ConfigError, MapError, ...); a caller that need not
tell them apart catches HostError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


class HostError(RuntimeError):
    """Something about the mail server that its operator has to mend; the message says what."""


@contextmanager
def host_errors() -> Iterator[None]:
    """Turn what the store and the file system refuse into HostError; also a decorator."""
    try:
        yield
    except sqlite3.Error as error:
        raise HostError(f"the server's store: {error}") from error
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        raise HostError(f"{about}{error.strerror or error}") from error
