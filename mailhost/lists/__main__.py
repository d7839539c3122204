"""python -m mailhost.lists ROOT: the lists' daemon, as `mailhost run lists` starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mailhost.lists import daemon
from mailhost.paths import Paths
from mailhost.processes import pid_file


def main(root: Path) -> int:
    """Say which process this is, then serve until a signal comes."""
    pid_file(Paths(root), "lists").write_text(f"{os.getpid()}\n")
    return daemon.run(root)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
