"""The service's own notices, delivered into an account's inbox whatever its quota says.

A notice is known by a mark in its header line that only this server can make, so that nobody
can keep notices away by sending what looks like one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from contextlib import closing
from pathlib import Path

from mailhost.config import load_config
from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.errors import HostError, host_errors
from mailhost.paths import Paths
from mailhost.usage.counting import Boxes
from mailhost.usage.database import UsageDatabase

#: Names a notice's kind to mail programs.
HEADER = "X-Plusmail-Notice"
_KIND = re.compile(r"\A[a-z0-9-]{1,40}\Z")
_NEWLINE = re.compile(rb"\r\n|\r|\n")


class NoticeError(HostError):
    """A notice could not be delivered; the message says why."""


@host_errors()
def deliver(root: Path, account: str, kind: str, message: bytes) -> bool:
    """Put a notice into the inbox of the mailbox `account`, past its quota.

    `message` is a whole message (RFC 5322), before which the line HEADER is put; `kind` is a
    word of [a-z0-9-], at most 40 characters. Returns False, and delivers nothing, while one
    of that kind lies there unread. It is not counted as sending. Raises NoticeError, also if
    there is no such mailbox or `kind` is no such word.
    """
    if not _KIND.match(kind):
        raise NoticeError(f"not a kind of notice: {kind!a}")
    load_config(root)
    paths = Paths(root.absolute())
    with closing(Boxes(paths.store)) as boxes:
        found = boxes.of([account])
    if not found:
        raise NoticeError(f"no account {account!a} on this server")
    mark = _mark(paths, found[0].mailbox_id, kind)
    doveadm = Doveadm(paths)
    try:
        if doveadm.has_unread(account, HEADER, mark):
            return False
        doveadm.save(account, _with_header(f"{HEADER}: {kind}; {mark}", message))
    except NoAnswer as error:
        raise NoticeError(f"the notice could not be delivered: {error}") from error
    if paths.usage.is_dir():
        # Without a quota Dovecot tells the usage daemon nothing.
        with closing(UsageDatabase(paths.usage_db)) as db:
            db.mark([account], time.time())
    return True


def _mark(paths: Paths, mailbox_id: str, kind: str) -> str:
    """Return what nobody else can write: a keyed hash (RFC 2104) of mailbox and kind."""
    key = paths.policy_key.read_bytes().strip()
    text = f"notice {mailbox_id} {kind}".encode()
    return "mark=" + hmac.new(key, text, hashlib.sha256).hexdigest()[:32]


def _with_header(line: str, message: bytes) -> bytes:
    return line.encode("ascii") + b"\n" + _NEWLINE.sub(b"\n", message)
