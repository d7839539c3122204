"""Without a mail server the panel runs, says so, and keeps what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.e2e.product import PASSWORD, Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(400)]

Visit = Callable[..., Visitor]
WORDS = "メールサーバーに接続されていません。"


@pytest.fixture(scope="module")
def alone() -> Iterator[Product]:
    """The product without Postfix and Dovecot; all else is there."""
    with product("redis", "web", "worker", "beat", mail=False, delay=1) as made:
        yield made


def test_changes_stay_pending_and_can_be_taken_back(alone: Product, visit: Visit) -> None:
    wakaba = visit(alone.url)
    wakaba.log_in("wakaba", alone.logins["wakaba"])
    wakaba.add_account("wakaba.example", "patient", PASSWORD)
    # Several sweeps later than its time.
    assert not wait_for(lambda: alone.states().keys() - {"pending", "cancelled"}, 6)
    wakaba.page.reload()
    expect(wakaba.row("patient").locator(".state.wait")).to_be_visible()
    wakaba.press(wakaba.row("patient").locator("form button"))
    expect(wakaba.row("patient")).to_have_count(0)


def test_page_says_when_nobody_has_reported_for_a_while(alone: Product, visit: Visit) -> None:
    wakaba = visit(alone.url)
    wakaba.log_in("wakaba", alone.logins["wakaba"])
    wakaba.add_account("wakaba.example", "waiting", PASSWORD)
    words = wakaba.page.get_by_text(WORDS)
    # A server's worker reports every minute; this one was stopped a while ago.
    for minutes, said in ((1, 0), (6, 1)):
        alone.execute(
            "UPDATE propagation_mailserver SET seen_at = datetime('now', ?)",
            f"-{minutes} minutes",
        )
        wakaba.page.reload()
        expect(words).to_have_count(said)
        expect(wakaba.row("waiting").locator(".state.wait")).to_be_visible()
    alone.execute("UPDATE propagation_mailserver SET seen_at = NULL")
