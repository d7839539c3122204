"""A private PostgreSQL for tests: `python -m tests.postgres COMMAND ...` runs a command on it.

PostgreSQL refuses to run as root, so that the cluster then belongs to an existing
unprivileged user. It listens on a free port of 127.0.0.1 and ends with the command.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

INSTALLED = Path("/usr/lib/postgresql")
UNPRIVILEGED = ("postgres", "nobody")
VARIABLE = "PLUSMAIL_TEST_DATABASE_URL"
# What a crash would lose is of no use to anybody.
FAST = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


class Missing(Exception):
    """PostgreSQL cannot be run here, and why."""


def programs() -> Path:
    """Return the directory of the newest installed PostgreSQL's programs; Missing without one."""
    found = [path.parent for path in INSTALLED.glob("*/bin/initdb")]
    if not found:
        raise Missing("No PostgreSQL: deploy/install-packages test installs it.")
    return max(found, key=lambda path: float(path.parent.name))


def runner() -> list[str]:
    """Return the start of a command line that runs as somebody PostgreSQL accepts."""
    if os.geteuid() != 0:
        return []
    for name in UNPRIVILEGED:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise Missing(f"None of the users {', '.join(UNPRIVILEGED)} exists.")


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a cluster of its own, and give the URL of a database in it."""
    bin_directory, as_user = programs(), runner()
    home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if as_user:
        owner = int(as_user[1].partition("=")[2])
        os.chown(home, owner, -1)
    try:
        data = home / "data"
        command = [*as_user, str(bin_directory / "initdb"), "-D", str(data), "-U", "tests"]
        options = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*command, *options], check=True, capture_output=True, cwd="/")
        with _running([*as_user, str(bin_directory / "postgres"), "-D", str(data)], home) as url:
            yield url
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(command: list[str], home: Path) -> Iterator[str]:
    """Run the server on a free port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"postgres://tests@127.0.0.1:{port}/postgres"
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(home), *FAST]
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*command, *options], stdout=log, stderr=log, cwd="/")
        try:
            _wait_until_answering(server, url, home / "log")
            yield url
        finally:
            # Fast shutdown (postgres(1)): ends the sessions instead of waiting for them.
            server.send_signal(signal.SIGINT)
            server.wait(30)


def _wait_until_answering(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until the server takes connections; Missing with its log when it does not."""
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise Missing(f"PostgreSQL does not start:\n{log.read_text()}")


def main(command: list[str]) -> int:
    """Run a command with the variable that tests/settings.py reads; return its exit status."""
    try:
        with postgresql() as url:
            return subprocess.run(
                command, env={**os.environ, VARIABLE: url}, check=False
            ).returncode
    except Missing as reason:
        print(reason, file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
