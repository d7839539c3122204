"""A mail server's directory on this machine, as the worker finds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from mailhost.config import HostConfig
from mailhost.instance import missing_programs
from tests import factories
from tests.conftest import Cast
from tests.servers import MailServer as Running
from tests.servers import mail_server


@pytest.fixture
def root(cast: Cast, tmp_path: Path, settings: Settings) -> Path:
    """Let the cast's server be on this machine."""
    settings.MAILHOST_ROOT = str(tmp_path)
    made = tmp_path / cast.server.name
    made.mkdir()
    HostConfig(cast.server.name).save(made)
    return made


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Start a real server, one for all tests of a module."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(factories.SERVER) as server:
        yield server
