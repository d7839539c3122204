"""The service's own notices, delivered into an account's inbox whatever its quota says."""

from __future__ import annotations

from pathlib import Path

from mailhost.errors import HostError

#: Names a notice's kind to mail programs; what comes from elsewhere with it is no notice.
HEADER = "X-Plusmail-Notice"


class NoticeError(HostError):
    """A notice could not be delivered; the message says why."""


def deliver(root: Path, account: str, kind: str, message: bytes) -> bool:
    """Put a notice into the inbox of the mailbox `account`, past its quota.

    `message` is a whole message (RFC 5322) without the line HEADER, which is added; `kind` is
    a word of [a-z0-9-], at most 40 characters. Returns False, and delivers nothing, while one
    of that kind lies there unread. It is not counted as sending. Raises NoticeError, also if
    there is no such mailbox or `kind` is no such word.
    """
    raise NotImplementedError
