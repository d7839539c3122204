"""Runs nginx and php-fpm for webmail, and keeps with them what they need.

Both run as webmail's own user, which can read neither mail nor the store nor a key. This process
is root's, to start them so, and to read from the store how large a domain's messages may be.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

from mailhost.config import HostConfig, load_config
from mailhost.paths import Paths
from mailhost.store.reader import Reader
from mailhost.webmail import places
from mailhost.webmail.sites import Sites

#: Seconds after which limits are looked at again, and in which the programs may end.
EVERY = 30.0
PATIENCE = 8.0

_ENDING = {signal.SIGTERM, signal.SIGINT}
_AWAITED = {*_ENDING, signal.SIGCHLD}
_log = logging.getLogger("mailhost.webmail")


def run(root: Path) -> int:
    """Serve until a signal comes, or one of the programs ends by itself; return the exit status."""
    paths = Paths(root)
    logging.basicConfig(
        filename=paths.log / "webmail.log",
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
    )
    config = load_config(root)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _update(paths, config)
        for command in _commands(paths):
            started.append(_start(config, command))
        return _serve(paths, config, started)
    finally:
        _end(started)


def _commands(paths: Paths) -> list[list[str]]:
    etc = paths.webmail / "etc"
    return [
        [str(places.php_fpm()), "--nodaemonize", "--fpm-config", str(etc / "php-fpm.conf")],
        [str(places.nginx()), "-p", str(paths.webmail), "-e", str(paths.webmail / "log/nginx.log"),
         "-c", str(etc / "nginx.conf")],
    ]  # fmt: skip


def _start(config: HostConfig, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a program as webmail's user; it ends when this process does, however that ends."""
    return subprocess.Popen(
        places.as_webmail(config, command),
        stdin=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        preexec_fn=_unblock,
    )


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)


def _serve(paths: Paths, config: HostConfig, started: list[subprocess.Popen[bytes]]) -> int:
    while True:
        _say_limits(paths, config)
        told = signal.sigtimedwait(_AWAITED, EVERY)
        if told is not None and told.si_signo in _ENDING:
            return 0
        for process in started:
            if process.poll() is not None:
                _log.error("%s has ended with %s", process.args, process.returncode)
                return 1


def _say_limits(paths: Paths, config: HostConfig) -> None:
    """Bring up to date how large a message each domain's accounts may send."""
    sites = Sites(paths, config)
    try:
        with closing(Reader(paths.store)) as store:
            for domain in sites.domains():
                sites.say_limit(domain, store.plan_of(domain).message_bytes)
    except (sqlite3.Error, OSError) as error:
        _log.warning("limits are as they were: %s", error)


def _update(paths: Paths, config: HostConfig) -> None:
    """Bring the domains' tables to what the installed Roundcube wants; it changes but rarely."""
    newest = max((path.stem for path in places.UPDATES.glob("*.sql")), default="")
    mark = paths.webmail / "tables"
    with suppress(FileNotFoundError):
        if mark.read_text() == newest:
            return
    for domain in Sites(paths, config).domains():
        done = subprocess.run(
            places.as_webmail(config, ["php", str(places.UPDATER), "--package=roundcube",
                                 f"--dir={places.UPDATES.parent}"]),
            env={"PATH": "/usr/bin:/bin", "PLUSMAIL_SITE": domain,
                 "ROUNDCUBE_CONFIG_DIR": str(paths.webmail / "etc/roundcube")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            _log.error("%s: its tables could not be updated: %s", domain, done.stderr.strip())
            return
    mark.write_text(newest)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    """Ask the programs to end, and end those that do not."""
    for process in reversed(started):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    for process in started:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
