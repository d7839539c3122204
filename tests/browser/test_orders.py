"""From the limit to one account more, in a real browser: the customer asks, the operator grants."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Plan
from orders.models import Option
from tests.browser.visitor import Visitor, chromium
from tests.conftest import Cast, logged_in
from tests.factories import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

USERS = "/domains/example.com/users/"


def test_customer_orders_operator_grants_and_the_account_is_added(
    live_server: LiveServer, cast: Cast
) -> None:
    Plan.objects.update(account_limit=1)
    Option.objects.create(kind="account", amount=1, setup_yen=300)
    users = (cast.sakura.user, cast.operator)
    sessions = [logged_in(user).cookies["sessionid"].value for user in users]
    with chromium() as browser:
        sakura, operator = (Visitor(browser, live_server.url, "ja") for _user in users)
        for visitor, session in zip((sakura, operator), sessions, strict=True):
            visitor.have_session(session)

        sakura.go(USERS)
        note = sakura.page.locator("#full")
        expect(note).to_contain_text("1個中1個を使用中です。あと1個追加: 初期費用300円。")
        expect(sakura.page.locator("#add-account")).to_have_count(0)
        sakura.press(note.locator("a.button"))
        expect(sakura.page.locator("#order")).to_contain_text("初期費用300円")
        sakura.send()
        expect(sakura.page.locator(".note.done")).to_contain_text("お申し込みを受け付けました")
        expect(sakura.page.locator("#list li .state.wait")).to_have_text("申込中")

        operator.go("/admin/orders/order/")
        operator.page.check("input.action-select")
        operator.page.select_option("select[name=action]", "grant_orders")
        operator.press("button[name=index]")
        granted = operator.page.get_by_text("1件の申し込みを承認しました。")
        expect(granted).to_be_visible(timeout=30_000)

        sakura.page.reload()
        expect(sakura.page.locator("#list li .state.live")).to_have_text("承認")
        sakura.add_account("example.com", "tanaka", PASSWORD)
        expect(sakura.row("tanaka").locator(".state.wait")).to_be_visible()
        expect(sakura.page.locator(".lead .number")).to_contain_text("2 / 2")
        for visitor in (sakura, operator):
            assert visitor.trouble() == []
            visitor.close()
