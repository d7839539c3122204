"""A mail server with two accounts, alice and bob of example.com, and its policy daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import Account, Domain
from tests import factories
from tests.quota.reports import Daemon
from tests.quota.usages import Told


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
def told(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Have the server of the cast tell how full its mailboxes are."""
    made = Told(daemon.root, monkeypatch)
    yield made
    made.db.close()
