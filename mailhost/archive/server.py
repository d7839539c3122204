"""What all work on archives begins with: the server, the account, its home and limit."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mailhost import homes
from mailhost.archive.database import Database
from mailhost.archive.errors import ArchiveError
from mailhost.archive.mailbox import Mailbox
from mailhost.config import HostConfig, load_config
from mailhost.errors import HostError, host_errors
from mailhost.paths import Paths
from mailhost.store.reader import Reader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An account as the server's store has it. `limit` is in bytes, `home` below the homes."""

    name: str
    mailbox_id: str
    domain: str
    home: str
    limit: int


@dataclass(frozen=True, slots=True)
class Server:
    """The mail server in `root`, its record of archives open."""

    root: Path
    paths: Paths
    config: HostConfig
    db: Database

    @property
    def homes_root(self) -> Path:
        """The directory below which the domains' homes lie."""
        return homes.root_of(self.root, self.config)

    def account(self, name: str) -> Account:
        """Return an account by its name; ArchiveError "no_account"."""
        with closing(Reader(self.paths.store)) as reader:
            mailbox = reader.value(f"mailbox:{name}")
            if not mailbox:
                raise ArchiveError("no_account", f"There is no account {name!a} on this server.")
            home = str(reader.value(f"domain:{mailbox['domain']}").get("home", ""))
            limit = reader.mailbox_limit(name)
        return Account(name, mailbox["mailbox_id"], mailbox["domain"], home, limit)

    def state_of(self, mailbox_id: str) -> tuple[str, str]:
        """Return name and state of a mailbox, as Reader.mailbox_state does."""
        with closing(Reader(self.paths.store)) as reader:
            return reader.mailbox_state(mailbox_id)

    def mailbox(self, account: str, mailbox_id: str) -> Mailbox:
        """Return an account's mailbox, to be opened by `with`."""
        return Mailbox(self.paths, self.config, account, mailbox_id)

    def recount(self, account: str, *, flush: bool = False) -> None:
        """Have the account's usage asked anew and, with `flush`, the copies tried that wait for it.

        The archive does not depend on it: what fails here is done by others within minutes.
        """
        try:
            with suppress(ModuleNotFoundError):
                importlib.import_module("mailhost.usage.figures").recount(self.root, [account])
                if flush:
                    importlib.import_module("mailhost.usage.waiting").flush(self.root, [account])
        except HostError as error:
            log.warning("%s: usage not asked anew: %s", account, error)


@contextmanager
def opened(root: Path) -> Iterator[Server]:
    """Open the server in `root`. HostError for what its files and databases refuse."""
    root = root.absolute()
    config, paths = load_config(root), Paths(root)
    with host_errors(), Database(paths) as db:
        yield Server(root, paths, config, db)
