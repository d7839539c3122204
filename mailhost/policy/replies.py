"""Who may hand over auto-replies: Dovecot's delivery, and no other program of this machine.

It comes to a port of 127.0.0.1 without any password, as the user who owns all mail.
"""

from __future__ import annotations

import logging
import re

from mailhost.config import HostConfig
from mailhost.policy import peers
from mailhost.policy.request import Request

#: What is asked by the port for auto-replies (main.cf), and what is answered.
CONTEXT = "reply"
TAKEN = "OK"
REFUSED = "554 5.7.1 Only auto-replies are taken here, from this server itself"
UNKNOWN = "451 4.3.0 It cannot be told who sends this: try again later"
_NOBODY = -1
_PORT = re.compile(r"[0-9]{1,5}")

_log = logging.getLogger("mailhost.policy")


def answer(request: Request, config: HostConfig) -> str:
    """Return the action for a recipient on that port."""
    try:
        user = _who_asks(request, config)
    except OSError as error:
        _log.error("auto-replies cannot be taken: %s", error)
        return UNKNOWN
    if user == config.mail_uid:
        return TAKEN
    _log.warning(
        "refused reply: user=%s client=%a port=%a sender=%a recipient=%a",
        "unknown" if user == _NOBODY else user,
        request.client_address,
        request.client_port,
        request.sender,
        request.recipient,
    )
    return REFUSED


def _who_asks(request: Request, config: HostConfig) -> int:
    """Return the user id of who is connected, -1 for nobody of this machine."""
    port = request.client_port
    if request.client_address != peers.LOOPBACK or not _PORT.fullmatch(port):
        return _NOBODY
    found = peers.owner(int(port), config.reply_port)
    return _NOBODY if found is None else found
