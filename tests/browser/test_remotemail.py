"""Mail on the server in a real browser: what a message holds does nothing, and deletion works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.e2e.product import Product, product
from tests.hostile import corpus
from tests.servers import message

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(600)]

Visit = Callable[..., Visitor]
CHECKS = (Path(__file__).parent / "checks.js").read_text()
# Those that a page could take for markup, and those that are hardest to show.
SHOWN = (
    "html-script", "html-svg", "html-refresh", "html-textarea", "html-entities", "text-script",
    "subject-script", "subject-encoded-script", "from-html", "file-name-html", "injected-header",
    "utf7", "bidi", "subject-of-1mb", "line-without-blank", "combining",
)  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Iterator[Product]:
    """An installation in which tanaka has mail."""
    with product("web", delay=900) as made:
        made.make_due()
        made.manage("apply_changes")
        yield made


def fill(panel: Product, *contents: bytes) -> str:
    """Lay messages into tanaka's empty mailbox; return the path of its page."""
    [(found,)] = panel.rows("SELECT id FROM accounts_account WHERE name = ?", "tanaka")
    home = panel.mail.host.paths.home(UUID(found).hex) / "Maildir"
    config = panel.mail.config
    for name in ("cur", "new", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (home / "new" / f"{1_700_000_000 + number}.M{number}.test").write_bytes(content)
    for path in (home.parent.parent, home.parent, home, *home.rglob("*")):
        os.chown(path, config.mail_uid, config.mail_gid)
    return f"/domains/example.com/users/{UUID(found)}/mail/"


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_messages_do_nothing_and_go(panel: Product, visit: Visit, scripts: bool) -> None:
    messages = dict(corpus())
    path = fill(panel, *(messages[name] for name in SHOWN), message("harmless"))
    sakura = visit(panel.url, "en", java_script_enabled=scripts)
    asked: list[str] = []
    sakura.page.on("request", lambda request: asked.append(request.url))
    sakura.log_in("sakura", panel.logins["sakura"])
    sakura.go("/domains/example.com/users/")
    sakura.press(sakura.page.locator(f'a[href="{path}"]'))
    links = [str(link.get_attribute("href")) for link in sakura.page.locator(".what a").all()]
    assert len(links) == len(SHOWN) + 1
    sakura.page.set_viewport_size({"width": 320, "height": 640})
    for link in links:
        for page in (link, f"{link}&lines=20"):
            sakura.go(page)
            if scripts:
                assert sakura.page.evaluate("window.hit") is None, page
                assert sakura.page.evaluate(CHECKS, ["en", False]) == [], page
    assert not [url for url in asked if not url.startswith(panel.url)]
    sakura.go(path)
    for box in sakura.page.locator("input[name=uid]").all():
        if "harmless" not in str(box.locator("xpath=..").inner_text()):
            box.check()
    sakura.press(sakura.page.get_by_role("button", name="Delete the chosen ones…"))
    expect(sakura.page.locator("h1")).to_have_text(f"Delete {len(SHOWN)} messages?")
    expect(sakura.page.locator(".note.stop")).to_contain_text("can never be received again")
    sakura.press(sakura.page.get_by_role("button", name="for good"))
    expect(sakura.page.locator(".note.done")).to_contain_text("were deleted from the server")
    expect(sakura.page.locator(".what a")).to_have_text(["harmless"])
    sakura.page.locator("input[name=uid]").check()
    sakura.press(sakura.page.get_by_role("button", name="Delete the chosen ones…"))
    sakura.press(sakura.page.get_by_role("button", name="for good"))
    expect(sakura.page.locator(".empty")).to_contain_text("There is no mail in this folder")
    assert sakura.trouble() == []
