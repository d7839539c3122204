"""Somebody at a browser: Chromium, driven by Playwright, and what the page's console says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Response,
    sync_playwright,
)

LANGUAGES = {"ja": "ja-JP", "en": "en-GB"}
CLOCK = re.compile(r"\d{1,2}:\d{2}")
# Tells of what the Content-Security-Policy kept from happening.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium without a window."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                # The demo's own domain, by its name.
                "--host-resolver-rules=MAP example.com 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


class Visitor:
    """One person with one window."""

    def __init__(self, browser: Browser, url: str, language: str = "ja", **options: Any) -> None:
        """Open a window; `options` go to Playwright's new_context."""
        self.context: BrowserContext = browser.new_context(
            base_url=url, locale=LANGUAGES[language], **options
        )
        self.context.set_default_timeout(60_000)
        self.url = url
        self.scripts = bool(options.get("java_script_enabled", True))
        if self.scripts:
            self.context.add_init_script(_WATCH)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        """Keep errors; that a form was refused with 422, or a page with 404, is none."""
        refused = re.search(r"status of (422|404|429|403)\b", message.text)
        if message.type in ("error", "warning") and not refused:
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def close(self) -> None:
        """Close the window."""
        self.context.close()

    def trouble(self) -> list[str]:
        """Return what console and policy complained of, and what hostile mail did."""
        if self.scripts:
            self.problems += self.page.evaluate("window.violations || []")
            if self.page.evaluate("window.hit"):
                self.problems.append("what a message holds was taken for markup")
        found, self.problems = self.problems, []
        return found

    # Words for what one does

    def go(self, path: str) -> Response:
        """Open a page of the panel."""
        response = self.page.goto(path)
        assert response
        return response

    def have_session(self, key: str) -> None:
        """Be logged in already."""
        self.context.add_cookies([{"name": "sessionid", "value": key, "url": self.url}])

    def log_in(self, login: str, password: str) -> None:
        """Log in by the form."""
        self.go("/login/")
        self.page.fill("#username", login)
        self.page.fill("#password", password)
        self.send()
        self.page.wait_for_url(lambda url: "/login/" not in url)

    def press(self, target: str | Locator) -> None:
        """Press what leads to another page, and wait until all of that is there.

        A click alone returns earlier, and what is done next may still meet the page before.
        """
        with self.page.expect_navigation():
            (self.page.locator(target).first if isinstance(target, str) else target).click()

    def send(self) -> None:
        """Send the page's form."""
        self.press("main form .actions button")

    def add_account(self, domain: str, name: str, password: str) -> None:
        """Fill in the User Manager's form and send it."""
        self.go(f"/domains/{domain}/users/")
        self.page.fill("#add-account input[name=name]", name)
        self.page.fill("#add-account input[name=password]", password)
        self.press("#add-account .actions button")

    def row(self, name: str, table: str = "#accounts") -> Locator:
        """Return the row of an account, or of an address of `#forwards`."""
        exactly = re.compile(rf"^\s*{re.escape(name)}\s*$")
        cell = self.page.locator("strong.address").filter(has_text=exactly)
        return self.page.locator(f"{table} tbody tr").filter(has=cell)
