"""Chromium for every test here; each module has an installation of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import Visitor, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium. Not for the session: Playwright's loop would get in Django's way."""
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no /usr/bin/chromium")
    # Chromium can be slow on a busy machine; what never comes is reported all the same.
    expect.set_options(timeout=30_000)
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Open windows that are closed afterwards."""
    opened: list[Visitor] = []

    def visit(url: str, language: str = "ja", **options: Any) -> Visitor:
        opened.append(Visitor(browser, url, language, **options))
        return opened[-1]

    yield visit
    for visitor in opened:
        visitor.close()
