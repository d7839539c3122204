"""The policy daemon of one mail server: Postfix and Dovecot ask it who may send and log in.

One process and one event loop, so that no two questions are judged at once. It needs neither
the panel nor Redis: what it is told comes from the server's store, what it counts lies in its
own database.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pwd
import resource
import time
from contextlib import suppress
from pathlib import Path

from mailhost import serving
from mailhost.config import load_config
from mailhost.paths import Paths
from mailhost.policy.arrivals import Arrivals
from mailhost.policy.authpolicy import AuthPolicy
from mailhost.policy.database import PolicyDatabase
from mailhost.policy.directory import Directory
from mailhost.policy.grants import Grants
from mailhost.policy.holders import Holders
from mailhost.policy.ledger import Clock, Ledger
from mailhost.policy.protocol import MOST_CONNECTIONS, PolicyServer
from mailhost.policy.repeats import Repeats
from mailhost.policy.rules import Rules
from mailhost.policy.sessions import Sessions
from mailhost.policy.throttle import Throttle
from mailhost.policy.upkeep import LOOK, ROUND, Upkeep, each
from mailhost.usage.known import Known

#: Connections that wait to be accepted.
_BACKLOG = 512

_log = logging.getLogger("mailhost.policy")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    # Postfix has up to five connections for each of some hundred processes.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 1000
    more = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, more), hard))
    return serving.run("policy", root, _serve)


async def _serve(paths: Paths) -> None:
    config = load_config(paths.root)
    db = PolicyDatabase(paths.policy / "policy.sqlite3")
    known = Known(paths.usage_db)
    directory = Directory(paths.store, known)
    grants = Grants(db, directory, config)
    throttle = Throttle(db, config)
    ledger = Ledger(db, Clock(config.time_zone), time.time())
    directory.notice = Holders(db, ledger, throttle).notice
    rules, repeats = Rules(config, directory, grants, ledger), Repeats(directory, ledger)
    arrivals = Arrivals()
    server = PolicyServer(db, directory, rules, repeats, arrivals, time.time)
    key = paths.policy_key.read_text().strip()
    logins = AuthPolicy(config, key, directory, grants, throttle, arrivals)
    upkeep = Upkeep(grants, throttle, Sessions(paths))
    loop = asyncio.get_running_loop()
    ended = serving.told_to_end()
    postfix = await _listen(paths.policy_socket, server)
    dovecot = await loop.create_server(
        logins.connection, "127.0.0.1", config.policy_port, backlog=_BACKLOG
    )
    # What lives as long as the process need not be looked through for garbage.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    _log.info("ready")

    async def tidy() -> None:
        server.expire()
        ledger.tidy()
        if db.failing:
            db.flush()

    async def lapse() -> None:
        ledger.expire(time.time())

    work = (upkeep.run(), each(LOOK, tidy), each(ROUND, lapse))
    tasks = [asyncio.create_task(task) for task in work]
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
    listening = await serving.listen(
        socket, server.connection, account.pw_uid, account.pw_gid, backlog=_BACKLOG
    )
    socket.chmod(0o660)
    return listening
