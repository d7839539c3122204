"""Dovecot's dict protocol, as far as its quota_clone plugin speaks it (Dovecot 2.3, dict-client.h).

A connection begins with a handshake `H...`. Then each line is a letter, a number and fields
between tabs: `B` begins a transaction on behalf of a user, `S` sets a value in it, `C` commits
it and is answered `O`. What is set is of no interest: of figures that are written side by side
an older one can come last (they are right in Dovecot itself). That there was a change is what
counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mailhost import grammar

#: Bytes of a line; Dovecot's have some 40.
MOST_LINE = 4096
#: What is answered to a question for a value: there is none.
NOTHING = b"N\n"
#: Asks whether anybody is there: a handshake, and a question.
PING = b"H3\t2\t0\t\tusage\nLpriv/status\t\n"

_log = logging.getLogger("mailhost.usage")


class Connection(asyncio.Protocol):
    """One connection of Dovecot's, which tells which mailbox has changed."""

    _transport: asyncio.Transport

    def __init__(self, changed: Callable[[str], None]) -> None:
        """Take whom to tell."""
        self._changed = changed
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of create_unix_server)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take each line that is complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if answers := b"".join(map(self._take, lines)):
            self._transport.write(answers)
        if len(self._rest) > MOST_LINE:
            _log.warning("a connection ended: too long a line")
            self._transport.abort()

    def _take(self, line: bytes) -> bytes:
        """Return the answer to a line, none to most."""
        number, *fields = line[1:].split(b"\t")
        match line[:1]:
            case b"B" if fields:
                self._tell(fields[0])
            case b"C":
                return b"O%s\n" % number
            case b"L":
                return NOTHING
        return b""

    def _tell(self, user: bytes) -> None:
        name = user.decode("ascii", "replace")
        try:
            grammar.check_any_mailbox_name(name)
        except grammar.GrammarError:
            _log.warning("not a mailbox: %a", name[:100])
            return
        self._changed(name)
