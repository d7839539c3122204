"""What runs: the command of each part, and how one sees that the part answers.

A part answers when it has said its own protocol's greeting, not when its process exists.
"""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mailhost.instance import missing_for, problem_of
from standalone.place import (
    HOST,
    OUTSIDE_USER,
    SERVER,
    Ports,
    mailhost_root,
    outside_mail,
    redis_socket,
)

REDIS = "redis"
TIMEOUT = 5.0  # seconds for one question


@dataclass(frozen=True, slots=True)
class Part:
    """One program of the supervisor's: `answers` is asked again until it says yes."""

    name: str
    command: list[str]
    answers: Callable[[], bool]
    where: str  # for people: what was asked


def panel_parts(var: Path, ports: Ports, environ: Mapping[str, str]) -> list[Part]:
    """Return the panel alone: what runs even where nothing else can be had."""
    return [
        Part(
            "web",
            [
                *python("gunicorn"),
                "plusmail.wsgi:application",
                f"--bind={HOST}:{ports.web}",
                "--workers=2",
                # Threads: a download of 2 GB over a slow line must neither keep others waiting nor
                # be ended after gunicorn's 30 seconds, as in a worker without them.
                "--threads=8",
                "--no-control-socket",
                "--log-level=warning",
            ],
            lambda: answers_http(ports.web, "/healthz"),
            f"http://{HOST}:{ports.web}/healthz",
        )
    ]


def queue_parts(var: Path, ports: Ports, environ: Mapping[str, str]) -> list[Part]:
    """Return Redis and what needs it: the worker and the clock that sends it work."""
    socket_path = redis_socket(var)
    redis = [
        "redis-server", "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "600",
        "--dir", str(socket_path.parent), "--save", "", "--appendonly", "no",
        "--daemonize", "no", "--logfile", str(socket_path.parent / "redis.log"),
    ]  # fmt: skip
    worker = [
        # The mail server's files are root's, so its worker is too.
        sys.executable, "-W", "ignore:You're running the worker with superuser privileges",
        "-m", "celery", "--quiet", "-A", "plusmail", "worker", "--hostname", "standalone@%h",
        "--queues", f"celery,server.{SERVER}", "--concurrency", "2", "--loglevel", "WARNING",
    ]  # fmt: skip
    beat = [
        *python("celery"), "--quiet", "-A", "plusmail", "beat",
        "--loglevel", "WARNING", "--pidfile", "", "--schedule", str(beat_schedule(var)),
    ]  # fmt: skip
    started = time.time()
    return [
        Part(REDIS, redis, lambda: answers_redis(socket_path), str(socket_path)),
        Part("worker", worker, lambda: answers_celery(environ), "celery inspect ping"),
        Part("beat", beat, lambda: beat_began(var, started), "it has begun"),
    ]


def server_parts(var: Path, ports: Ports) -> list[Part]:
    """Return the mail server's programs, under mailhost, and the rest of the Internet."""
    # Postfix's own smtp-sink(1) writes a file per message. Not by its -u: with another user the
    # kernel forgets whose death ends the process, so setpriv(1) has to ask after that.
    outside = [
        "setpriv", "--reuid", OUTSIDE_USER, "--regid", "nogroup", "--clear-groups",
        "--pdeathsig", "TERM", "--", "smtp-sink", "-h", "outside.invalid",
        "-d", f"{outside_mail(var)}/%Y%m%d-%H%M%S.", f"{HOST}:{ports.outside}", "100",
    ]  # fmt: skip
    mailhost = [*python("mailhost"), "--root", str(mailhost_root(var)), "run"]
    return [
        Part(
            "outside",
            outside,
            lambda: greets(ports.outside, b"220 "),
            f"{HOST}:{ports.outside}",
        ),
        # Before Postfix, which lets nobody send without it.
        Part(
            "policy",
            [*mailhost, "policy"],
            lambda: not problem_of(mailhost_root(var), "policy"),
            f"{HOST}:{ports.policy}",
        ),
        Part(
            "lists",
            [*mailhost, "lists"],
            lambda: not problem_of(mailhost_root(var), "lists"),
            "its socket",
        ),
        Part(
            "usage",
            [*mailhost, "usage"],
            lambda: not problem_of(mailhost_root(var), "usage"),
            "its socket",
        ),
        Part(
            "events",
            [*mailhost, "events"],
            lambda: not problem_of(mailhost_root(var), "events"),
            "its socket",
        ),
        Part(
            "postfix",
            [*mailhost, "postfix"],
            lambda: greets(ports.smtp, b"220 ") and greets(ports.submission, b"220 "),
            f"{HOST}:{ports.smtp}, {ports.submission}",
        ),
        Part(
            "dovecot",
            [*mailhost, "dovecot"],
            lambda: greets(ports.pop3, b"+OK"),
            f"{HOST}:{ports.pop3}",
        ),
        *optional_parts(var, ports),
    ]


def optional_parts(var: Path, ports: Ports) -> list[Part]:
    """Return FTP, SSH and webmail, under mailhost: those whose programs are installed."""
    root = mailhost_root(var)
    places = {"ftp": f"{ports.ftp}, {ports.sftp}", "ssh": ports.ssh, "webmail": ports.webmail}
    return [
        Part(
            name,
            [*python("mailhost"), "--root", str(root), "run", name],
            partial(_no_problem, root, name),
            f"{HOST}:{where}",
        )
        for name, where in places.items()
        if not missing_for(name)
    ]


def _no_problem(root: Path, server: str) -> bool:
    return not problem_of(root, server)


def python(module: str) -> list[str]:
    """Return the command that runs a module under this interpreter."""
    return [sys.executable, "-m", module]


def beat_began(var: Path, since: float) -> bool:
    """Tell whether beat has begun since a moment (UNIX seconds); `plusmail.celery` notes it."""
    mark = beat_schedule(var).with_name("began")
    return mark.exists() and mark.stat().st_mtime >= since


def beat_schedule(var: Path) -> Path:
    """Return the file in which Celery beat remembers what it sent."""
    return var / "beat" / "schedule"


def greets(port: int, greeting: bytes) -> bool:
    """Tell whether a server on the port opens with its protocol's greeting."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), TIMEOUT) as server:
        return server.makefile("rb").readline().startswith(greeting)
    return False


def answers_redis(path: Path) -> bool:
    """Tell whether Redis answers PING on its Unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
        server.settimeout(TIMEOUT)
        server.connect(str(path))
        server.sendall(b"PING\r\n")
        return server.recv(100).startswith(b"+PONG")
    return False


def answers_http(port: int, path: str) -> bool:
    """Tell whether the panel answers 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def answers_celery(environ: Mapping[str, str]) -> bool:
    """Tell whether the worker answers a ping sent through Redis."""
    ping = [*python("celery"), "-A", "plusmail", "inspect", "ping", "--timeout", "3"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            ping, env=dict(environ), cwd=os.curdir, capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0 and b"pong" in done.stdout
    return False
