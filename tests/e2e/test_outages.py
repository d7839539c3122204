"""What is asked for is not lost, and mail flows, while a part of the product is away."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.e2e.product import PASSWORD, Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The whole product with its demo data; its pages may fail while the database is away."""
    with product(
        "redis", "web", "worker", "beat", delay=2, faultless=False, MAILBOX_PASSWORD_ROUNDS="1000"
    ) as made:
        yield made


def add(panel: Product, name: str) -> None:
    """Ask for an account of example.com, and see that it is not there yet."""
    panel.manage("add_account", f"{name}@example.com", typed=f"{PASSWORD}\n")


def works(panel: Product, name: str) -> bool:
    """Wait until an account works and nothing is left to apply."""
    return panel.settled(60) and panel.mail.can_log_in(name)


def test_emptied_broker_loses_no_change(panel: Product) -> None:
    panel.stop("worker")
    add(panel, "emptied")
    # Beat goes on sending sweeps, which nobody takes; then they are gone, bindings and all.
    panel.make_due()
    assert wait_for(lambda: panel.waiting("celery"), 20)
    panel.flush_broker()
    panel.start("worker")
    assert works(panel, "emptied")


def test_broker_emptied_under_a_working_worker_loses_no_change(panel: Product) -> None:
    add(panel, "swept")
    panel.flush_broker()
    assert works(panel, "swept")


def test_restarted_broker_loses_no_change(panel: Product) -> None:
    panel.kill("redis")
    add(panel, "restarted")
    panel.start("redis")
    assert works(panel, "restarted")
    assert panel.is_running("worker")
    assert panel.is_running("beat")


def test_mail_flows_while_the_panels_database_is_away(panel: Product) -> None:
    add(panel, "away")
    assert works(panel, "away")
    panel.manage("add_forward", "to-away@example.com", "away@example.com")
    kept = panel.var / "kept"
    kept.mkdir()
    files = list(panel.var.glob("panel.sqlite3*"))
    for file in files:
        file.rename(kept / file.name)
    # Or SQLite would make a new database in its place.
    panel.database.mkdir()
    try:
        assert page(panel, "/login/") == 500
        panel.mail.deliver("away@example.com", text="without the panel")
        assert panel.mail.got("away", "without the panel")
        assert panel.mail.can_log_in("away@example.com")
        assert panel.mail.rcpt("nobody@example.com")[0] == 550
    finally:
        panel.database.rmdir()
        for file in files:
            (kept / file.name).rename(file)
    assert page(panel, "/login/") == 200
    assert works(panel, "away")
    assert panel.mail.rcpt("to-away@example.com")[0] == 250
    assert panel.is_running("worker")
    assert panel.is_running("beat")


def page(panel: Product, path: str) -> int:
    """Return the status of a page."""
    try:
        with urllib.request.urlopen(panel.url + path, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
