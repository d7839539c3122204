"""A real mail server that holds the cast, and messages put straight into its mailboxes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Account
from mailhost.instance import missing_programs
from propagation import reconcile
from propagation.apply import apply_due
from tests import factories
from tests.conftest import Cast, logged_in
from tests.servers import MailServer as Running
from tests.servers import mail_server

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One server for the tests of a module."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(factories.SERVER) as server:
        yield server


@dataclass
class Mailbox:
    """An account on the running server, its owner's browser, and the mailbox as files."""

    account: Account
    running: Running
    browser: Client
    path: str

    @property
    def directory(self) -> Path:
        """The maildir."""
        return self.running.host.paths.home(self.account.pk.hex) / "Maildir"

    def put(self, *contents: bytes, folder: str = "", age: float = 0.0, flags: str = "") -> None:
        """Lay messages into a folder as a delivery would, with LF at line ends."""
        config = self.running.config
        place = self.directory / (f".{folder}" if folder else "")
        for name in ("cur", "new", "tmp"):
            (place / name).mkdir(parents=True, exist_ok=True)
        for path in (self.directory.parent, self.directory, place, *place.iterdir()):
            os.chown(path, config.mail_uid, config.mail_gid)
        for content in contents:
            came = int(time.time() - age)
            name = f"{came}.M{next(_numbers):06}.test"
            file = place / "cur" / f"{name}:2,{flags}" if flags else place / "new" / name
            file.write_bytes(content)
            os.utime(file, (came, came))
            os.chown(file, config.mail_uid, config.mail_gid)

    def flags(self) -> dict[str, str]:
        """Return the flags of each message by its file's name."""
        files = [*self.directory.glob("cur/*"), *self.directory.glob("new/*")]
        return {file.name.partition(":")[0]: file.name.partition(":2,")[2] for file in files}

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of each message by its file's name."""
        files = [*self.directory.glob("cur/*"), *self.directory.glob("new/*")]
        return {file.name.partition(":")[0]: file.read_bytes() for file in files}

    def get(self, path: str = "", **query: str | int) -> str:
        """Return a page below this mailbox's own."""
        response = self.browser.get(f"{self.path}{path}", query)
        assert response.status_code == 200, (response.status_code, response.headers)
        return response.text


@pytest.fixture
def site(cast: Cast, running: Running, settings: Settings) -> Running:
    """The running server, which has the cast and nothing else."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    reconcile.repair(cast.server)
    return running


@pytest.fixture
def box(cast: Cast, site: Running) -> Mailbox:
    """An account of example.com, live and empty."""
    account = factories.make_account(cast.com, f"box{next(_numbers)}")
    factories.come_due(cast.server)
    assert apply_due(cast.server).applied == 1
    path = f"/domains/example.com/users/{account.pk}/mail/"
    return Mailbox(account, site, logged_in(cast.sakura.user), path)
