"""A mail server with two accounts, alice and bob of example.com: daemons' files, or all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import Account, Domain
from mailhost.config import HostConfig
from mailhost.instance import missing_programs
from tests import factories
from tests.quota.engine import Engine
from tests.quota.reports import Daemon
from tests.quota.usages import Told
from tests.servers import MailServer as Running
from tests.servers import mail_server


@pytest.fixture
def alice(com: Domain) -> Account:
    """Have the panel know alice."""
    account = factories.make_account(com, "alice")
    factories.settle()
    return account


@pytest.fixture
def bob(com: Domain) -> Account:
    """Have the panel know bob."""
    account = factories.make_account(com, "bob")
    factories.settle()
    return account


@pytest.fixture
def daemon(tmp_path: Path, settings: Settings, alice: Account) -> Iterator[Daemon]:
    """Keep the server of the cast on this machine."""
    settings.MAILHOST_ROOT = str(tmp_path)
    (tmp_path / alice.server.name).mkdir()
    made = Daemon(tmp_path / alice.server.name)
    yield made
    made.close()


@pytest.fixture
def engine(
    tmp_path: Path, settings: Settings, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """Let the cast's server be on this machine, and its archiving answer what a test says."""
    settings.MAILHOST_ROOT = str(tmp_path)
    root = tmp_path / alice.server.name
    root.mkdir()
    HostConfig(alice.server.name).save(root)
    made = Engine(root)
    made.answer(monkeypatch)
    return made


@pytest.fixture
def told(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Have the server of the cast tell how full its mailboxes are."""
    made = Told(daemon.root, monkeypatch)
    yield made
    made.db.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Start a real server, one for all tests of a module."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(factories.SERVER) as server:
        yield server
