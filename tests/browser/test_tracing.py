"""From a message that a real Postfix refused to one that arrives, by what the page says to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visitor import CLOCK, Visitor
from tests.e2e.product import Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(400)]

Visit = Callable[..., Visitor]
# What is the matter at first, the reason of the refusal, what waits then, and what comes of it.
JA = (
    "存在しないため",
    "このアドレスは存在しませんでした",
    "まだメールサーバーに反映されていません",
    "メールは届いています",
)
EN = ("does not exist", "There was no such address", "works from about", "Mail arrives, last at")


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The product without its clock: a change is applied, and events taken over, when asked for."""
    with product("web", delay=900) as made:
        yield made


def told(panel: Product, sakura: Visitor, sign: Locator) -> None:
    """Have what became of mail taken over until the page, loaded anew, shows it."""

    def shows() -> int:
        panel.manage("collect_events")
        sakura.page.reload()
        return sign.count()

    assert wait_for(shows, 120), sakura.page.content()


@pytest.mark.parametrize(
    ("language", "scripts", "domain", "words"),
    [("ja", True, "example.com", JA), ("en", False, "example.net", EN)],
)
def test_refused_message_is_found_and_its_address_is_added(
    panel: Product,
    visit: Visit,
    language: str,
    scripts: bool,
    domain: str,
    words: tuple[str, str, str, str],
) -> None:
    missing, reason, waiting, well = words
    address, mail = f"soudan@{domain}", panel.mail
    assert mail.rcpt(address)[0] == 550
    sakura = visit(panel.url, language, java_script_enabled=scripts)
    page = sakura.page
    sakura.log_in("sakura", panel.logins["sakura"])
    expect(page.locator("html")).to_have_attribute("lang", language)

    # The page knows no such address, and what Postfix did with the message.
    why = f"/domains/{domain}/why/"
    sakura.go(f"/domains/{domain}/")
    sakura.press(f"nav a[href='{why}']")
    page.fill("#address", "soudan")
    sakura.press("main form .actions button")
    verdict, events = page.locator("main .note").first, page.locator(".events li")
    expect(verdict).to_contain_text(missing)
    told(panel, sakura, events.locator(".state.stop"))
    expect(events).to_have_count(1)
    expect(events).to_contain_text(reason)

    # Its button leads to where the address is added, with the name filled in.
    sakura.press(verdict.locator("a.button"))
    assert page.input_value("#local_part") == "soudan"
    page.fill("#destination", "tanaka@example.com")
    sakura.press("#add-forward .actions button")
    expect(sakura.row("soudan", "#forwards").locator(".state.wait")).to_be_visible()
    sakura.go(f"{why}?address=soudan")
    expect(verdict).to_contain_text(waiting)
    expect(verdict).to_contain_text(CLOCK)

    # The time comes, and a message arrives.
    panel.make_due()
    panel.manage("apply_changes")
    mail.deliver(address)
    told(panel, sakura, events.locator(".state.live"))
    expect(events).to_have_count(2)
    expect(verdict).to_contain_text(well)

    # The map has the way that it took.
    sakura.press(verdict.locator("a.button"))
    places = page.locator(".tree .place .address")
    expect(places).to_have_text([address, "tanaka@example.com"])
    assert sakura.trouble() == []
