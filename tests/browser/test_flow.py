"""The main job from the browser to a delivered message, on the whole product at work.

Web, worker, beat, Redis, Postfix and Dovecot run as they do in `make run`; a change takes
seconds here instead of minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import CLOCK, Visitor
from tests.e2e.product import PASSWORD, Product, product
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(400)]

Visit = Callable[..., Visitor]
TAKEN = "Error: User exists. Choose another username."
# Long enough to look at what waits, on a busy machine too.
DELAY = 20
# From a change to its effect: the delay, the next sweep, and the page's own look every 15 s.
SOON = (DELAY + 60) * 1000


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The whole product with its demo data."""
    with product("redis", "web", "worker", "beat", delay=DELAY) as made:
        yield made


@pytest.mark.parametrize(("domain", "scripts"), [("example.com", True), ("example.net", False)])
def test_taken_name_becomes_a_working_address_and_goes_again(
    panel: Product, visit: Visit, domain: str, scripts: bool
) -> None:
    address, cancelled = f"info@{domain}", f"never-{domain.rpartition('.')[2]}"
    sakura = visit(panel.url, java_script_enabled=scripts)
    page, mail = sakura.page, panel.mail
    sakura.log_in("sakura", panel.logins["sakura"])
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    sakura.press(f"main a[href='/domains/{domain}/']")
    sakura.press(f"nav a[href='/domains/{domain}/users/']")

    # The name is another customer's.
    sakura.add_account(domain, "info", PASSWORD)
    expect(page.locator("#name-error")).to_have_text(TAKEN)
    assert "wakaba" not in page.content()

    # The assistant offers another mailbox and the address that was wanted.
    expect(page.locator("#offer")).to_contain_text(address)
    name = page.input_value("#mailbox")
    assert name == "myinfo"
    sakura.press("#offer .actions button")
    assert_waiting(sakura, name)
    sakura.press(f"nav a[href='/domains/{domain}/forwarding/']")
    assert_waiting(sakura, "info", "#forwards")
    assert mail.rcpt(address)[0] == 550
    assert not mail.can_log_in(name)

    # Another change is taken back in time.
    sakura.add_account(domain, cancelled, PASSWORD)
    assert_waiting(sakura, cancelled)
    sakura.press(sakura.row(cancelled).locator("form button"))
    expect(sakura.row(cancelled)).to_have_count(0)

    # The time comes, by itself on the page that sees to it.
    if not scripts:
        panel.make_due()
    wait_until_live(sakura, name)
    mail.deliver(address, text=f"to {domain}")
    assert mail.got(name, f"to {domain}")
    assert any(f"to {domain}".encode() in one for one in mail.messages(address))
    assert panel.settled()
    assert mail.rcpt(f"{cancelled}@{domain}")[0] == 550
    assert not mail.can_log_in(cancelled)
    expect(sakura.row(cancelled)).to_have_count(0)

    # It is deleted again.
    sakura.press(sakura.row(name).locator("a[href$='/delete/']"))
    lost = page.locator("main section").first
    expect(lost).to_contain_text("14")
    expect(lost).to_contain_text(address)
    sakura.press("button.danger")
    expect(sakura.row(name).locator(".state.wait")).to_be_visible()
    assert mail.can_log_in(name)
    panel.make_due()
    wait_until_gone(sakura, name)
    for refused in (address, f"{name}@{domain}"):
        assert mail.rcpt(refused)[0] == 550
    assert not mail.can_log_in(name)
    assert sakura.trouble() == []


def assert_waiting(sakura: Visitor, name: str, table: str = "#accounts") -> None:
    """The row says that it waits, and until when."""
    row = sakura.row(name, table)
    expect(row.locator(".state.wait")).to_be_visible()
    expect(row).to_contain_text(CLOCK)


def wait_until_live(sakura: Visitor, name: str) -> None:
    """The row becomes live: by itself with scripts, else when the page is loaded again."""
    sign = sakura.row(name).locator(".state.live")
    if not sakura.scripts:
        assert wait_for(lambda: reloaded(sakura.page) and sign.count(), SOON / 1000)
        return
    sakura.page.evaluate("window.stayed = true")
    expect(sign).to_be_visible(timeout=SOON)
    assert sakura.page.evaluate("window.stayed"), "the page was loaded anew"
    expect(sakura.row(name)).to_contain_text(CLOCK)


def wait_until_gone(sakura: Visitor, name: str) -> None:
    """The row goes: by itself with scripts, else when the page is loaded again."""
    if not sakura.scripts:
        row = sakura.row(name)
        assert wait_for(lambda: reloaded(sakura.page) and not row.count(), SOON / 1000)
        return
    expect(sakura.row(name)).to_have_count(0, timeout=SOON)


def reloaded(page: Page) -> bool:
    """Load the page again, as somebody without scripts would after a while."""
    time.sleep(0.5)
    return page.reload() is not None


def test_keyboard_alone_logs_in_and_adds_an_account(panel: Product, visit: Visit) -> None:
    wakaba = visit(panel.url)
    page = wakaba.page
    wakaba.go("/login/")
    assert focused(page, "#username"), "the login's first box has no focus"
    page.keyboard.type("wakaba")
    page.keyboard.press("Tab")
    page.keyboard.type(panel.logins["wakaba"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/domains/")
    page.wait_for_load_state()

    # The first stop leads past the menu.
    page.keyboard.press("Tab")
    assert focused(page, "a.skip")
    page.keyboard.press("Enter")
    tab_to(page, "main a[href='/domains/wakaba.example/users/']")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to(page, "#add-account input[name=name]")
    page.keyboard.type("keyboard")
    tab_to(page, "#add-account input[name=password]")
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(wakaba.row("keyboard").locator(".state")).to_be_visible()

    # The Enter key adds a forwarding address, and not another box for one.
    wakaba.go("/domains/wakaba.example/forwarding/")
    tab_to(page, "#local_part")
    page.keyboard.type("keys")
    tab_to(page, "#destination")
    page.keyboard.type("info@wakaba.example")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(wakaba.row("keys", "#forwards").locator(".state")).to_be_visible()

    # The way to take it back, or to delete it, needs no mouse either.
    tab_to(page, "#forwards tr:has-text('keys') td .actions > *")
    assert wakaba.trouble() == []


def focused(page: Page, selector: str) -> bool:
    """Whether the focus is on this element, and can be seen there."""
    return bool(
        page.locator(selector).evaluate_all(
            """(found) => found.some((element) => element.contains(document.activeElement))
            && document.activeElement.matches(":focus-visible")
            && getComputedStyle(document.activeElement).outlineStyle !== "none" """
        )
    )


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _stop in range(60):
        page.keyboard.press("Tab")
        if focused(page, selector):
            return
    raise AssertionError(f"Tab never comes to {selector}")
