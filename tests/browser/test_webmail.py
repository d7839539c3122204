"""Webmail in a real browser: installed, used and removed by its page; hostile mail does nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from mailhost.instance import missing_for
from tests.browser.visitor import Visitor
from tests.e2e.product import Product, product
from tests.hostile import corpus
from tests.servers import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(600)]

Visit = Callable[..., Visitor]
CHECKS = (Path(__file__).parent / "checks.js").read_text()
PAGE = "/domains/example.com/webmail/"
# What a page could take for markup, of each kind that the corpus has.
WITH_MARKUP = [
    content
    for name, content in corpus()
    if len(content) < 20_000
    and (b"window.hit" in content or b"evil.invalid" in content or re.search("html|script", name))
]


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """An installation with webmail, whose domains do not have it yet."""
    if problem := missing_for("webmail"):
        pytest.skip(problem)
    with product("web", delay=900, webmail=True) as made:
        made.make_due()
        made.manage("apply_changes")
        yield made


def password(panel: Product) -> str:
    """Return the one of all the demo's mailboxes."""
    text = (panel.var / "demo-logins.txt").read_text()
    found = re.search(r"every one has the password (\S+)", text)
    assert found
    return found[1]


def apply(panel: Product) -> None:
    """Let the time of all changes come, and the server do them."""
    panel.make_due()
    panel.manage("apply_changes")


def enter(page: Page, login: str, word: str) -> None:
    """Log in to webmail."""
    page.fill("input[name=_user]", login)
    page.fill("input[name=_pass]", word)
    page.click("button[type=submit]")
    page.wait_for_url("**/?_task=mail**")


def delete_first(page: Page) -> None:
    """Choose the first message of the list and delete it, once it is shown beside the list."""
    page.locator("#messagelist tbody tr:visible").first.click()
    shown = page.frame_locator("#messagecontframe").locator("#messagebody")
    expect(shown).to_be_visible()
    page.wait_for_function("!rcmail.busy")
    page.locator("#toolbar-menu a.delete:not(.disabled)").click()


def japanese(subject: str, text: str) -> bytes:
    """Return a message as Japanese mail programs write it (RFC 1468)."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "suzuki@example.com", "tanaka@example.com", subject
    made.set_content(text, charset="iso-2022-jp")
    return made.as_bytes()


def test_from_the_button_to_an_answer_that_arrives(panel: Product, visit: Visit) -> None:
    sakura, word = visit(panel.url), password(panel)
    sakura.log_in("sakura", panel.logins["sakura"])
    sakura.go("/domains/example.com/")
    sakura.press(f'nav a[href="{PAGE}"]')
    expect(sakura.page.locator("h2").first).to_have_text("ウェブメールはインストールされていません")
    assert sakura.page.evaluate(CHECKS, ["ja", False]) == []
    sakura.press(sakura.page.get_by_role("button", name="ウェブメールをインストールする"))
    expect(sakura.page.locator(".state.wait")).to_be_visible()
    assert sakura.page.evaluate(CHECKS, ["ja", False]) == []
    apply(panel)
    sakura.go(PAGE)
    assert sakura.page.evaluate(CHECKS, ["ja", False]) == []
    with sakura.context.expect_page() as opened:
        sakura.page.locator("main a.address").click()
    webmail = opened.value
    # Its name in the demo is that of the domain on this machine.
    assert webmail.url.startswith("http://example.com.localhost:")
    expect(webmail.locator("#plusmail-domain")).to_have_text("example.com")
    expect(webmail.locator("html")).to_have_attribute("lang", "ja")

    with panel.mail.smtp() as client:
        raw = japanese("見積のお願い", "株式会社さくら商店 田中様\n\nお見積もりをお願いします。\n")
        assert b"iso-2022-jp" in raw
        client.sendmail("friend@outside.test", ["tanaka@example.com"], raw)
    assert wait_for(lambda: panel.mail.messages("tanaka", word))
    enter(webmail, "tanaka", word)
    expect(webmail.locator("#messagelist")).to_contain_text("見積のお願い")
    webmail.goto(webmail.url.partition("?")[0] + "?_task=mail&_mbox=INBOX&_uid=1&_action=show")
    expect(webmail.locator("#messagebody")).to_contain_text("お見積もりをお願いします。")
    webmail.locator("#toolbar-menu a.reply").first.click()
    webmail.wait_for_url("**_action=compose**")
    body = webmail.locator("#composebody")
    expect(body).to_contain_text("お見積もりをお願いします。")
    body.fill("承知しました。明日お送りします。")
    webmail.locator("button.send").click()
    webmail.wait_for_url("**_mbox=INBOX**")
    answers = wait_for(lambda: panel.mail.messages("suzuki", word))
    assert answers
    assert b"To: suzuki@example.com" in answers[0]
    assert b"=?UTF-8?" in answers[0]
    sakura.go("/domains/example.com/")
    assert sakura.trouble() == []


def test_deleting_in_a_full_mailbox_and_removing_webmail(panel: Product, visit: Visit) -> None:
    word = password(panel)
    panel.manage("set_webmail", "example.com", "on")
    apply(panel)
    for _ in range(4):
        panel.mail.deliver("kato@example.com", text="x" * 70 + "\n" + ("y" * 70 + "\n") * 40_000)
    assert wait_for(lambda: panel.mail.rcpt("kato@example.com")[0] == 552)
    kato = visit(f"http://example.com:{panel.ports.webmail}", "en")
    kato.go("/webmail/")
    page = kato.page
    enter(page, "kato@example.com", word)
    rows = page.locator("#messagelist tbody tr:visible")
    expect(rows).to_have_count(4)
    delete_first(page)
    expect(rows).to_have_count(3)
    page.goto(page.url.partition("?")[0] + "?_task=mail&_mbox=Trash")
    expect(rows).to_have_count(1)
    delete_first(page)
    expect(rows).to_have_count(0)
    assert wait_for(lambda: panel.mail.rcpt("kato@example.com")[0] == 250)

    sakura = visit(panel.url, "en")
    sakura.log_in("sakura", panel.logins["sakura"])
    sakura.go(PAGE)
    sakura.press(sakura.page.get_by_role("link", name="Remove webmail…"))
    expect(sakura.page.locator("h1")).to_have_text("Remove the webmail of example.com?")
    assert sakura.page.evaluate(CHECKS, ["en", False]) == []
    sakura.press(sakura.page.get_by_role("button", name="Remove webmail"))
    apply(panel)
    response = page.goto("/webmail/")
    assert response
    assert response.status == 404
    expect(page.locator("h2")).to_have_text("There is no webmail at this address.")
    sakura.go(PAGE)
    expect(sakura.page.locator(".note").first).to_contain_text("are kept until")
    assert sakura.trouble() == []


def test_hostile_messages_do_nothing(panel: Product, visit: Visit) -> None:
    panel.manage("set_webmail", "example.com", "on")
    apply(panel)
    [(found,)] = panel.rows("SELECT id FROM accounts_account WHERE name = ?", "ito")
    home = panel.mail.host.paths.home(UUID(found).hex) / "Maildir"
    for name in ("cur", "new", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(WITH_MARKUP):
        (home / "new" / f"{1_700_000_000 + number}.M{number}.test").write_bytes(content)
    config = panel.mail.config
    for path in (home.parent.parent, home.parent, home, *home.rglob("*")):
        os.chown(path, config.mail_uid, config.mail_gid)
    ito = visit(f"http://example.com:{panel.ports.webmail}", "en")
    asked: list[str] = []
    ito.page.on("request", lambda request: asked.append(request.url))
    ito.go("/webmail/")
    enter(ito.page, "ito", password(panel))
    expect(ito.page.locator("#messagelist tbody tr:visible")).to_have_count(
        min(50, len(WITH_MARKUP))
    )
    assert ito.page.evaluate("window.hit") is None
    for uid in range(1, len(WITH_MARKUP) + 1):
        ito.go(f"/webmail/?_task=mail&_mbox=INBOX&_uid={uid}&_action=preview")
        expect(ito.page.locator("#messagebody")).to_be_attached()
        assert ito.page.evaluate("window.hit") is None, WITH_MARKUP[uid - 1][:200]
    assert not [url for url in asked if "evil.invalid" in url]
