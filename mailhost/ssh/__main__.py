"""python -m mailhost.ssh ROOT: the SSH service of the mail server in ROOT."""

from __future__ import annotations

import sys
from pathlib import Path

from mailhost.ssh.keeper import serve


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return serve(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
