"""The servers' master processes, found by their pid files."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from mailhost.paths import Paths


def master(paths: Paths, server: str) -> int | None:
    """Return the master's process id, if the process of that id is this server's."""
    file = paths.queue / "pid/master.pid" if server == "postfix" else paths.run / "master.pid"
    try:
        process = int(file.read_text())
        alive = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]
        directory = Path(f"/proc/{process}/cwd").readlink()
    except (OSError, ValueError):
        return None
    name = b"master" if server == "postfix" else b"dovecot"
    home = paths.queue if server == "postfix" else paths.run
    # Another process may bear the number of one that is gone.
    return process if Path(alive.decode()).name.encode() == name and directory == home else None


def renew_postfix(paths: Paths) -> None:
    """Let each process of Postfix end after the mail it has in hand (what `postfix reload` does).

    smtpd(8) remembers across connections whether a recipient's domain is hosted.
    """
    if (process := master(paths, "postfix")) is not None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGHUP)
