"""A mail server's directory in which nothing runs: real store, real maps, no answer from Dovecot.

Enough for domains and addresses, which Postfix's maps confirm; a mailbox stays unconfirmed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailhost import instance
from mailhost.config import HostConfig


@contextmanager
def idle_server(name: str) -> Iterator[Path]:
    """Make the directory of the server `name`; its parent is what MAILHOST_ROOT names."""
    with tempfile.TemporaryDirectory(prefix="idle-", dir="/tmp") as made:
        # The servers' users would have to get through, which `init` makes sure of.
        Path(made).chmod(0o711)
        root = Path(made) / name
        instance.init(root, HostConfig(hostname=name))
        yield root
