"""From an order to the limit that Dovecot keeps: the customer asks, the operator grants."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from mailhost import programs
from mailhost.dovecot import Doveadm
from mailhost.paths import Paths
from tests.browser.visitor import Visitor
from tests.e2e.product import Product, product

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(400)]

Visit = Callable[..., Visitor]
# What is said of an order, where it stands, what the operator is told, and what of a message.
JA = (
    "お申し込みを受け付けました",
    "申込中",
    "1件の申し込みを承認しました。",
    "承認",
    "受け付けました",
)
EN = ("You have ordered", "Asked", "1 order granted.", "Granted", "We have your message")


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """The product without its clock: a change is applied when asked for."""
    with product("web", "redis", delay=900) as made:
        yield made


def limit_of(panel: Product, name: str) -> int:
    """Return the limit of a mailbox in KiB, as Dovecot keeps it."""
    command = Doveadm(Paths(panel.mail.root)).command
    answer = programs.run([*command, "-f", "tab", "quota", "get", "-u", name])
    rows = [line.split("\t") for line in answer.out.splitlines()]
    return next(int(row[3]) for row in rows if row[1] == "STORAGE")


@pytest.mark.parametrize(
    ("language", "scripts", "name", "words"),
    [("ja", True, "tanaka", JA), ("en", False, "kato", EN)],
)
def test_ordered_room_is_granted_and_kept_by_the_server(
    panel: Product,
    visit: Visit,
    language: str,
    scripts: bool,
    name: str,
    words: tuple[str, str, str, str, str],
) -> None:
    ordered, asked, told, granted, received = words
    before = limit_of(panel, name)
    sakura, operator = (
        visit(panel.url, language, java_script_enabled=scripts) for _one in range(2)
    )
    page = sakura.page
    sakura.log_in("sakura", panel.logins["sakura"])
    operator.log_in("operator", panel.logins["operator"])

    # The customer: from the menu to a larger mailbox, with its price.
    sakura.go("/domains/example.com/")
    sakura.press("nav a[href$='/options/']")
    sakura.press("#order-2")
    expect(page.locator("#order")).to_contain_text("500")
    page.fill("#account", name)
    sakura.send()
    expect(page.locator(".note.done")).to_contain_text(ordered)
    order = page.locator("#list li").first
    expect(order).to_contain_text(f"{name}@example.com")
    expect(order.locator(".state.wait")).to_have_text(asked)

    # The operator: one press for all that are chosen.
    operator.go("/admin/orders/order/?state__exact=asked")
    operator.page.locator("tr", has_text=f"{name}@").locator("input.action-select").check()
    operator.page.select_option("select[name=action]", "grant_orders")
    operator.press("button[name=index]")
    expect(operator.page.get_by_text(told)).to_be_visible()

    # The limit rises by propagation, and the customer sees both.
    page.reload()
    expect(order).to_contain_text(granted)
    was = before // 1024
    expect(order).to_contain_text(f"{was} MB → {was + 10} MB")
    assert limit_of(panel, name) == before
    panel.make_due()
    panel.manage("apply_changes")
    assert limit_of(panel, name) == before + 10 * 1024

    # All of it is in the history, and whatever is left to ask can be written.
    sakura.go(f"/domains/example.com/history/?q={name}&sort=order")
    expect(page.locator("main tbody tr").first).to_contain_text(f"{name}@example.com")
    expect(page.locator("main tbody tr").first).to_contain_text("10 MB")
    sakura.press("nav a[href$='/contact/']")
    page.fill("#subject", "test")
    page.fill("#text", "一行目\nsecond line")
    sakura.send()
    expect(page.locator(".note.done")).to_contain_text(received)
    assert sakura.trouble() + operator.trouble() == []


def test_full_domain_gets_one_account_more(panel: Product, visit: Visit) -> None:
    """The manual's own option, from the page where its limit is met."""
    sakura, operator = (visit(panel.url) for _one in range(2))
    sakura.log_in("sakura", panel.logins["sakura"])
    operator.log_in("operator", panel.logins["operator"])
    limit = panel.rows(
        "SELECT count(*) FROM accounts_account a JOIN accounts_domain d ON d.id = a.domain_id"
        " WHERE d.name = 'example.com'"
    )[0][0]
    panel.execute("UPDATE accounts_domain SET extra_accounts = 0 WHERE name = 'example.com'")
    panel.execute("UPDATE accounts_plan SET account_limit = ?", limit)
    sakura.go("/domains/example.com/users/")
    note = sakura.page.locator("#full")
    expect(note).to_contain_text(f"{limit}個中{limit}個を使用中です。あと1個追加: 初期費用300円。")
    expect(sakura.page.locator("#add-account")).to_have_count(0)
    sakura.press(note.locator("a.button"))
    sakura.send()
    operator.go("/admin/orders/order/?state__exact=asked&kind__exact=account")
    operator.page.locator("tr", has_text="example.com").locator("input.action-select").check()
    operator.page.select_option("select[name=action]", "grant_orders")
    operator.press("button[name=index]")
    sakura.add_account("example.com", "hajime", "a-long-word-of-hajimes")
    expect(sakura.row("hajime").locator(".state.wait")).to_be_visible()
    assert sakura.trouble() + operator.trouble() == []
