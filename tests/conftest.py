"""The cast of every test: an operator, two customers with their domains, and a mail server.

`sakura` owns example.com and example.net, `wakaba` owns wakaba.example. Everything
is live unless a test changes it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import translation
from hypothesis import settings as hypothesis_settings

from accounts.models import Account, Customer, Domain, Plan, User
from propagation.models import Change, ChangeState, MailServer
from tests import factories, servers
from tests.snapshot import Snapshot

#: Characters of each server's logs that a failed test shows.
LOG_TAIL = 4000
TESTS = Path(__file__).parent
#: What takes longest: files and directories, the longest first.
LONGEST = (
    "browser/test_pages",
    "e2e/test_kills",
    "setup/test_run",
    "bench/",
    "mail/test_archive_soak",
    "e2e/",
    "browser/",
    "mail/test_soak",
    "mail/test_window",
    "mailhost/policy/",
    "mail/",
)
SOAK = bool(os.environ.get("PLUSMAIL_SOAK"))


def tell(figure: str) -> None:
    """Print what a soak has measured; `pytest -s` shows it."""
    sys.stdout.write(f"\n{figure}\n")


# Fixed examples, so that a test that passed yesterday passes today; `make soak` looks further.
hypothesis_settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis_settings.register_profile("soak", max_examples=5000, deadline=None, database=None)
hypothesis_settings.load_profile("soak" if SOAK else "fixed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take longest come first, so that no worker has one of them left alone.

    It holds with --no-loadscope-reorder; by itself xdist puts files of few tests last.
    """
    items.sort(key=lambda item: _place(item.path.relative_to(TESTS).as_posix()))


def pytest_collection_finish() -> None:
    """Look for no garbage in what was imported: it took a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _place(path: str) -> int:
    return next((n for n, begin in enumerate(LONGEST) if path.startswith(begin)), len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the mail servers logged last, if a test fails."""
    report = yield
    if report.failed:
        for server in servers.running:
            for name, text in server.log_files():
                report.sections.append((f"{server.root.name}: {name}", text[-LOG_TAIL:]))
    return report


_DOMAINS = {"example.com": "sakura", "example.net": "sakura", "wakaba.example": "wakaba"}
_taken: list[Snapshot] = []  # of the cast, once this process has made it


@dataclass(frozen=True, slots=True)
class Cast:
    """The rows that most tests need."""

    server: MailServer
    plan: Plan
    operator: User
    sakura: Customer
    wakaba: Customer
    com: Domain  # sakura's example.com
    net: Domain  # sakura's example.net
    other: Domain  # wakaba's wakaba.example


def make_cast() -> Cast:
    """Return the cast, everything of it live; made by its doors once, put back later."""
    if not _taken:
        _make_cast()
        _taken.append(Snapshot.take())
    else:
        _taken[0].put_back()
    return Cast(
        MailServer.objects.get(),
        Plan.objects.get(),
        User.objects.get(username="operator"),
        Customer.objects.get(user__username="sakura"),
        Customer.objects.get(user__username="wakaba"),
        *(Domain.objects.get(name=name) for name in _DOMAINS),
    )


def _make_cast() -> None:
    server = factories.make_server()
    plan = factories.make_plan("standard", account_limit=10)
    User.objects.create_superuser("operator", password=factories.PASSWORD)
    customers = {
        "sakura": factories.make_customer("sakura", "株式会社さくら商店"),
        "wakaba": factories.make_customer("wakaba", "わかば工房"),
    }
    for name, owner in _DOMAINS.items():
        factories.make_domain(name, customer=customers[owner], plan=plan, server=server)
    Change.objects.end(ChangeState.APPLIED)


@pytest.fixture(autouse=True)
def _language() -> None:
    """Begin as a new process does: a request of an earlier test left its language active."""
    translation.deactivate()


@pytest.fixture
def cast(db: None) -> Cast:
    """Everybody and everything."""
    return make_cast()


@pytest.fixture
def server(cast: Cast) -> MailServer:
    """The mail server's row; nothing runs behind it."""
    return cast.server


@pytest.fixture
def com(cast: Cast) -> Domain:
    """sakura's example.com."""
    return cast.com


@pytest.fixture
def net(cast: Cast) -> Domain:
    """sakura's example.net, whose fixed address leads to example@example.com."""
    return cast.net


@pytest.fixture
def other(cast: Cast) -> Domain:
    """wakaba's wakaba.example."""
    return cast.other


@pytest.fixture
def tanaka(com: Domain) -> Account:
    """A live account of example.com."""
    account = factories.make_account(com, "tanaka")
    factories.settle()
    return account


def browser(language: str = "en", host: str = "panel.plusmail.test") -> Client:
    """Return a browser at the panel in which nobody is logged in."""
    return Client(headers={"host": host, "accept-language": language})


def logged_in(user: User, language: str = "en") -> Client:
    """Return a browser in which this login is logged in, with no signal that it did so."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    client = browser(language)
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key or ""
    return client


@pytest.fixture
def sakura(cast: Cast) -> Client:
    """The browser of example.com's owner, in English."""
    return logged_in(cast.sakura.user)


@pytest.fixture
def wakaba(cast: Cast) -> Client:
    """The browser of the other customer, in English."""
    return logged_in(cast.wakaba.user)


@pytest.fixture
def operator(cast: Cast) -> Client:
    """The operator's browser, in English."""
    return logged_in(cast.operator)


@pytest.fixture
def stranger(db: None) -> Client:
    """A browser in which nobody is logged in, in English."""
    return browser()
