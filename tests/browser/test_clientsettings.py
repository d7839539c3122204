"""The settings of mail programs in a real browser: copying, steps, paper, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Account
from tests.browser.visitor import Visitor, chromium
from tests.conftest import Cast, logged_in
from tests.factories import SERVER

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TANAKA = "/domains/example.com/settings/tanaka/"


@contextmanager
def at_the_panel(
    live_server: LiveServer, cast: Cast, language: str, **options: Any
) -> Iterator[Visitor]:
    """Let example.com's owner sit at a browser; the database is left to the panel from then on."""
    session = logged_in(cast.sakura.user).cookies["sessionid"].value
    with chromium() as browser:
        visitor = Visitor(browser, live_server.url, language, **options)
        visitor.have_session(session)
        yield visitor
        visitor.close()


def copied(page: Page, value: str) -> str:
    """Press a value's button, wait until it says so, and return what a paste would bring."""
    button = page.locator(f"button[data-copies={value}]")
    button.click()
    expect(button).to_have_text("Copied")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_attached()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_values_are_copied_by_a_button_and_the_steps_open(
    live_server: LiveServer, cast: Cast, tanaka: Account
) -> None:
    grants = {"permissions": ["clipboard-read", "clipboard-write"]}
    with at_the_panel(live_server, cast, "en", **grants) as visitor:
        visitor.go(TANAKA)
        page = visitor.page
        assert copied(page, "incoming") == SERVER
        assert copied(page, "login") == "tanaka@example.com"
        expect(page.locator("#thunderbird ol")).to_be_hidden()
        page.click("#thunderbird summary")
        expect(page.locator("#thunderbird ol")).to_be_visible()
        # By plain http a browser has no such clipboard: the older way, pasted into a box.
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        button = page.locator("button[data-copies=link]")
        button.click()
        expect(button).to_have_text("Copied")
        visitor.go("/mail/setup")
        page.focus("#emailaddress")
        page.keyboard.press("Control+V")
        expect(page.locator("#emailaddress")).to_have_value(
            re.compile(r"/mail/setup\?emailaddress=tanaka@example\.com$")
        )
        assert visitor.trouble() == []


def test_settings_are_there_without_javascript_and_on_paper(
    live_server: LiveServer, cast: Cast, tanaka: Account
) -> None:
    with at_the_panel(live_server, cast, "ja", java_script_enabled=False) as visitor:
        visitor.go("/domains/example.com/users/")
        visitor.press(visitor.row("tanaka").get_by_role("link", name="メールソフトの設定"))
        page = visitor.page
        expect(page.locator("#login")).to_have_text("tanaka@example.com")
        expect(page.locator("button[data-copies]").first).to_be_hidden()
        page.click("#becky summary")
        expect(page.locator("#becky ol")).to_be_visible()
        visitor.press(page.get_by_role("link", name="印刷用のページ"))
        page.emulate_media(media="print")
        expect(page.locator(".sheet")).to_contain_text("tanaka@example.com")
        expect(page.locator(".sheet img.qr")).to_be_visible()
        for left_out in (".bar", ".side", "a.button"):
            expect(page.locator(left_out).first).to_be_hidden()
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
