"""A private Postfix and Dovecot, started as `make run` and systemd start them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mailhost import instance
from mailhost.config import HostConfig
from mailhost.host import Host
from mailhost.records import Record
from tests.servers import free_ports


@contextmanager
def mail_server(root: Path, hostname: str, records: Iterable[Record]) -> Iterator[HostConfig]:
    """Make a mail server in `root` that holds `records` and run it.

    It sends no mail to other domains.
    """
    smtp, submission, submissions, pop3, pop3s, imap, imaps, panel, policy = free_ports(9)
    config = HostConfig(
        hostname,
        smtp_port=smtp,
        submission_port=submission,
        submissions_port=submissions,
        policy_port=policy,
        pop3_port=pop3,
        pop3s_port=pop3s,
        imap_port=imap,
        imaps_port=imaps,
        ftp_port=0,
        sftp_port=0,
        ssh_port=0,
        panel_imap_port=panel,
        slow_guessing=False,
        client_names=False,
        outbound="error:5.7.1 No mail leaves",
    )
    instance.init(root, config)
    with Host(root) as host, host.lock():
        host.load(records)
    with ExitStack() as stack:
        for server in instance.wanted(config):
            stack.enter_context(_running(root, server))
        for server in instance.wanted(config):
            if problem := instance.wait_until_answering(root, server, seconds=60):
                raise RuntimeError(f"{server} {problem}")
        yield config


@contextmanager
def _running(root: Path, server: str) -> Iterator[None]:
    command = [sys.executable, "-m", "mailhost", "--root", str(root), "run", server]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
