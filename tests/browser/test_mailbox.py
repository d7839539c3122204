"""The user of one mailbox at his own page, from the login until its owner shuts him out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from forwarding.models import ForwardingAddress
from mailhost.instance import missing_programs
from mailuser.models import AutoReply
from propagation import reconcile
from propagation.apply import apply_due
from tests import factories
from tests.browser.visitor import Visitor, chromium
from tests.conftest import Cast
from tests.servers import MailServer, mail_server

pytestmark = [pytest.mark.servers, pytest.mark.browser, pytest.mark.timeout(600)]

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def running() -> Iterator[MailServer]:
    """The mail server of both languages' users."""
    if problem := missing_programs():
        pytest.skip(problem)
    with mail_server(factories.SERVER) as server:
        yield server


@pytest.mark.parametrize(("language", "scripts"), [("ja", True), ("en", False)])
def test_user_sees_to_his_mailbox_and_is_out_when_its_owner_says_so(
    live_server: LiveServer,
    cast: Cast,
    running: MailServer,
    settings: Settings,
    language: str,
    scripts: bool,
) -> None:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no /usr/bin/chromium")
    account = factories.make_account(cast.com, "tanaka")
    account.set_password(PASSWORD)
    factories.settle()
    settings.MAILHOST_ROOT = str(running.root.parent)
    # The server remembers the other language's; the panel's wish wins.
    reconcile.repair(cast.server)
    small = {"width": 320, "height": 640}
    # Django's own work is done before and after: Playwright's loop is in its way.
    with chromium() as browser:
        user, owner = (
            Visitor(browser, live_server.url, language, java_script_enabled=scripts, viewport=small)
            for _who in range(2)
        )
        user.log_in("tanaka@example.com", PASSWORD)
        expect(user.page.locator("main .lead .address")).to_have_text("tanaka@example.com")
        user.page.locator("main a[href='/mailbox/auto-reply/']").click()
        user.page.check("input[name=on]")
        user.page.fill("#subject", "不在")
        user.page.fill("#text", "お休みです。\n月曜に戻ります。")
        user.page.fill("#days", "3")
        user.send()
        expect(user.page.locator(".note.done")).to_be_visible()

        user.go("/mailbox/forwarding/")
        user.page.fill("#destination", "me@outside.test")
        user.page.check("input[name=keep_copy]")
        user.page.locator("main form .actions button:not([name])").click()
        expect(user.page.locator(".note.done")).to_be_visible()

        user.go("/mailbox/password/")
        user.page.fill("input[name=password]", f"another-{PASSWORD}")
        user.page.fill("#present", PASSWORD)
        user.send()
        expect(user.page.locator("main .lead .address")).to_have_text("tanaka@example.com")

        owner.log_in("sakura", factories.PASSWORD)
        owner.go(f"/domains/example.com/users/{account.pk}/rights/")
        owner.page.uncheck("input[name=login]")
        owner.page.click("button[name=save]")
        expect(owner.page.locator(".note.done")).to_be_visible()
        user.go("/mailbox/")
        expect(user.page.locator("#username")).to_be_visible()
        trouble = user.trouble() + owner.trouble()
        user.close()
        owner.close()
    assert not trouble
    assert AutoReply.objects.get().text == "お休みです。\n月曜に戻ります。"
    assert ForwardingAddress.objects.get().keeps_copy()

    sender = f"anna-{language}@outside.test"
    factories.come_due(cast.server)
    assert apply_due(cast.server).applied == 3
    assert running.can_log_in("tanaka@example.com", f"another-{PASSWORD}")
    running.write("tanaka@example.com", sender)
    assert running.outside.got(sender, "auto-replied")
    assert running.outside.got("me@outside.test", sender)
    assert running.got("tanaka", sender, f"another-{PASSWORD}"), "a copy stays"
