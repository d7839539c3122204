"""Whose settings they are: those of a deleted account are not its successor's of the same name.

Roundcube knows its users by their address. While an account's mail lies in the trash, its user
is set aside under a name that nobody can log in by; it comes back, or goes, with the mail. Who
logged in by a forwarding address is another user to Roundcube, and stays as it is.

The files belong to webmail's user, so it is as this user that they are changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from mailhost import grammar, programs
from mailhost.config import HostConfig
from mailhost.webmail.places import as_webmail
from mailhost.webmail.sites import Sites

# `address` and `id` keep their grammars: nothing in them means anything to SQL.
_SET_ASIDE = "UPDATE users SET username = '{address}#{id}' WHERE username = '{address}';"
_BRING_BACK = (
    "DELETE FROM users WHERE username = '{address}'"
    " AND EXISTS (SELECT 1 FROM users WHERE username LIKE '%#{id}');"
    " UPDATE users SET username = '{address}' WHERE username LIKE '%#{id}';"
)
_FORGET = "DELETE FROM users WHERE username LIKE '%#{id}';"
_SCRIPT = ".bail on\n.timeout 5000\nPRAGMA foreign_keys = ON;\nBEGIN;\n{}\nCOMMIT;\n"

_log = logging.getLogger(__name__)


class Holders:
    """The users of all domains' webmail on one server."""

    def __init__(self, sites: Sites, config: HostConfig) -> None:
        """Name the server's domains."""
        self._sites = sites
        self._config = config

    def set_aside(self, address: str, mailbox_id: str) -> None:
        """The account's mail is in the trash."""
        self._do(_SET_ASIDE, address, mailbox_id)

    def bring_back(self, address: str, mailbox_id: str) -> None:
        """The account is back from there, perhaps by another name."""
        self._do(_BRING_BACK, address, mailbox_id)

    def forget(self, address: str, mailbox_id: str) -> None:
        """The account's mail is removed for good."""
        self._do(_FORGET, address, mailbox_id)

    def _do(self, statements: str, address: str, mailbox_id: str) -> None:
        """Have SQLite change the files of the address's domain; what fails is logged.

        Settings must not keep mail from coming or going.
        """
        if not address:
            # A stray directory was nobody's.
            return
        grammar.check_address(address)
        grammar.check_mailbox_id(mailbox_id)
        script = _SCRIPT.format(statements.format(address=address, id=mailbox_id))
        for file in self._files(address.rpartition("@")[2]):
            command = as_webmail(self._config, ["sqlite3", "-batch", str(file)])
            try:
                done = programs.run(command, script)
            except (OSError, programs.TimedOut) as error:
                _log.warning("webmail of %s: %s", address, error)
                continue
            if done.code:
                _log.warning("webmail of %s: %s", address, done.err)

    def _files(self, domain: str) -> Iterable[Path]:
        """Yield the domain's files: of the webmail it has, and of those it had."""
        if domain in self._sites.domains():
            yield self._sites.place(domain) / "webmail.db"
        for kept in self._sites.kept():
            if kept.domain == domain:
                yield kept.path / "webmail.db"
