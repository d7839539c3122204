"""The servers' master processes, found by their pid files."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from mailhost.paths import Paths

#: `python -m POLICY_MODULE ROOT` is the policy daemon of the server in ROOT.
POLICY_MODULE = "mailhost.policy"
#: The same for mailing lists.
LISTS_MODULE = "mailhost.lists"
#: The same for how full mailboxes are.
USAGE_MODULE = "mailhost.usage"
#: The same for what became of messages.
EVENTS_MODULE = "mailhost.events"
#: The same for webmail, whose nginx and php-fpm it starts.
WEBMAIL_MODULE = "mailhost.webmail"
#: The same for reading mail by SSH.
SSH_MODULE = "mailhost.ssh"
#: The servers that are programs of ours.
OWN_MODULES = {
    "policy": POLICY_MODULE,
    "lists": LISTS_MODULE,
    "usage": USAGE_MODULE,
    "events": EVENTS_MODULE,
    "webmail": WEBMAIL_MODULE,
    "ssh": SSH_MODULE,
}


def pid_file(paths: Paths, server: str) -> Path:
    """Return the file that holds the master's process id while it runs, and after a crash too."""
    files = {
        "postfix": paths.queue / "pid/master.pid",
        "dovecot": paths.run / "master.pid",
        "policy": paths.policy / "policy.pid",
        "lists": paths.lists / "lists.pid",
        "usage": paths.usage / "usage.pid",
        "events": paths.events / "events.pid",
        "ftp": paths.ftp / "proftpd.pid",
        "webmail": paths.webmail / "webmail.pid",
        "ssh": paths.ssh / "ssh.pid",
    }
    return files[server]


def master(paths: Paths, server: str) -> int | None:
    """Return the master's process id, if the process of that id is this server's."""
    try:
        process = int(pid_file(paths, server).read_text())
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        directory = Path(f"/proc/{process}/cwd").readlink()
        program = Path(f"/proc/{process}/exe").readlink().name
    except (OSError, ValueError):
        return None
    # Another process may bear the number of one that is gone.
    if server in OWN_MODULES:
        own = words[1:] == [b"-m", OWN_MODULES[server].encode(), bytes(paths.root), b""]
    elif server == "ftp":
        # It has written a title over its command line.
        own = program == "proftpd" and directory == paths.ftp
    elif server == "postfix":
        own = Path(words[0].decode()).name == "master" and directory == paths.queue
    else:
        own = Path(words[0].decode()).name == "dovecot" and directory == paths.run
    return process if own else None


def renew_postfix(paths: Paths) -> None:
    """Let each process of Postfix end after the mail it has in hand (what `postfix reload` does).

    smtpd(8) remembers across connections whether a recipient's domain is hosted.
    """
    if (process := master(paths, "postfix")) is not None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGHUP)
