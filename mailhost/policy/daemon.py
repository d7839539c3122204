"""The policy daemon of one mail server: Postfix and Dovecot ask it who may send and log in.

One process and one event loop, so that no two questions are judged at once. It needs neither
the panel nor Redis: what it is told comes from the server's store, what it counts lies in its
own database.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pwd
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

from mailhost.config import load_config
from mailhost.paths import Paths
from mailhost.policy.authpolicy import AuthPolicy
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import Directory
from mailhost.policy.grants import Grants
from mailhost.policy.ledger import Clock, Ledger
from mailhost.policy.protocol import MOST_CONNECTIONS, PolicyServer
from mailhost.policy.repeats import Repeats
from mailhost.policy.rules import Rules
from mailhost.policy.sessions import Sessions
from mailhost.policy.throttle import Throttle
from mailhost.policy.upkeep import Upkeep
from mailhost.usage.known import Known

#: Connections that wait to be accepted.
_BACKLOG = 512

_log = logging.getLogger("mailhost.policy")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    paths = Paths(root)
    logging.basicConfig(
        filename=paths.log / "policy.log",
        format="%(asctime)s %(levelname)s %(message)s",
        level=logging.INFO,
    )
    # Postfix has up to five connections for each of some hundred processes.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1000
    more = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, more), hard))
    try:
        asyncio.run(_serve(paths))
    except OSError as error:
        _log.error("cannot serve: %s", error)
        return 1
    return 0


async def _serve(paths: Paths) -> None:
    config = load_config(paths.root)
    db = PolicyDatabase(paths.policy / "policy.sqlite3")
    known = Known(paths.usage_db)
    directory = Directory(paths.store, known)
    grants = Grants(db, directory, config)
    throttle = Throttle(db, config)
    ledger = Ledger(db, Clock(config.time_zone), time.time())
    rules, repeats = Rules(config, directory, grants, ledger), Repeats(directory, ledger)
    server = PolicyServer(db, directory, rules, repeats, time.time)
    key = paths.policy_key.read_text().strip()
    logins = AuthPolicy(config, key, directory, grants, throttle)
    upkeep = Upkeep(grants, throttle, Sessions(paths))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    postfix = await _listen(paths.policy_socket, server)
    dovecot = await loop.create_server(
        logins.connection, "127.0.0.1", config.policy_port, backlog=_BACKLOG
    )
    # What lives as long as the process need not be looked through for garbage.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    _log.info("ready")
    tasks = [asyncio.create_task(upkeep.run()), asyncio.create_task(_tidy(db, server, ledger))]
    await ended.wait()
    for task in tasks:
        task.cancel()
    postfix.close()
    dovecot.close()
    logins.close()
    for connection in list(server.connections):
        connection.abort()
    ledger.close()
    db.close()
    directory.close()
    known.close()
    with suppress(FileNotFoundError):
        paths.policy_socket.unlink()
    _log.info("ended")


async def _listen(socket: Path, server: PolicyServer) -> asyncio.Server:
    """Listen where Postfix asks, and nobody else can."""
    account = pwd.getpwnam("postfix")
    with suppress(FileNotFoundError):
        socket.unlink()
    before = os.umask(0o177)
    try:
        listening = await asyncio.get_running_loop().create_unix_server(
            server.connection, str(socket), backlog=_BACKLOG
        )
    finally:
        os.umask(before)
    os.chown(socket, account.pw_uid, account.pw_gid)
    socket.chmod(0o660)
    return listening


async def _tidy(db: PolicyDatabase, server: PolicyServer, ledger: Ledger) -> None:
    """End slow connections each second, and let old reservations lapse each half minute."""
    seconds = 0
    while True:
        await asyncio.sleep(1)
        try:
            server.expire()
            ledger.tidy()
            if db.failing:
                db.flush()
            seconds += 1
            if seconds % 30 == 0:
                ledger.expire(time.time())
        except Exception:
            _log.exception("tidying failed")
