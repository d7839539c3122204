"""python -m mailhost.events ROOT: the events daemon, as `mailhost run events` starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mailhost.events import daemon
from mailhost.paths import Paths
from mailhost.processes import pid_file


def main(root: Path) -> int:
    """Say which process this is, then serve until a signal comes."""
    pid_file(Paths(root), "events").write_text(f"{os.getpid()}\n")
    return daemon.run(root)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
