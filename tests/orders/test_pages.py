"""The customer's pages: what is offered at a limit, ordering, and what became of it."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.models import Account, Domain, Plan
from orders.models import Option, Order, OrderState
from propagation.models import Change
from tests import factories
from tests.conftest import Cast, browser

USERS = "/domains/example.com/users/"
OPTIONS = "/domains/example.com/options/"
CONTACT = "/domains/example.com/contact/"


def order_page(option: Option, more: str = "") -> str:
    """Return the address at which an option is ordered."""
    return f"{OPTIONS}order/?option={option.pk}{more}"


def manage(cast: Cast) -> None:
    """Leave accounts and orders to the operator, as on the plan without self-service."""
    Plan.objects.filter(pk=cast.plan.pk).update(self_service=False)


# At the limit.


@pytest.fixture
def full(cast: Cast) -> Domain:
    """example.com, which has one account and may have one."""
    Plan.objects.update(account_limit=1)
    return cast.com


def test_limit_is_shown_with_its_price_and_one_button(
    full: Domain, sakura: Client, one_more: Option
) -> None:
    text = sakura.get(USERS).text
    assert "1 of 1 used; one more: 300 yen set-up." in text
    assert text.count(f'href="{order_page(one_more)}"') == 1
    assert sakura.get(order_page(one_more)).status_code == 200


def test_without_an_offer_the_way_is_to_ask_us(full: Domain, sakura: Client) -> None:
    text = sakura.get(USERS).text
    assert "1 of 1 used." in text
    assert f'href="{CONTACT}?about=accounts"' in text


def test_asked_granted_and_added(full: Domain, sakura: Client, one_more: Option) -> None:
    sakura.post(order_page(one_more), {"quantity": "1", "seen": "300"})
    text = sakura.get(USERS).text
    assert "You have asked for this: 1 more POP account" in text
    assert order_page(one_more) not in text
    Order.objects.get().grant()
    text = sakura.get(USERS).text
    assert "<strong>1</strong> of 2 accounts in use" in text
    sakura.post(USERS, {"name": "tanaka", "password": factories.PASSWORD})
    assert full.accounts.filter(name="tanaka").exists()
    assert "2 of 2 used; one more: 300 yen set-up." in sakura.get(USERS).text


def test_refused_account_says_the_way_and_keeps_what_was_typed(
    full: Domain, sakura: Client, one_more: Option
) -> None:
    response = sakura.post(USERS, {"name": "tanaka", "password": factories.PASSWORD})
    assert response.status_code == 422
    assert 'value="tanaka"' in response.text
    assert order_page(one_more) in response.text


# Ordering.


def test_order_has_the_price_that_was_shown(sakura: Client, one_more: Option) -> None:
    Option.objects.update(setup_yen=500)
    response = sakura.post(order_page(one_more), {"quantity": "3", "seen": "300"})
    assert response.status_code == 422
    assert "it is now 500 yen set-up" in response.text
    assert 'name="seen" value="500"' in response.text
    assert 'value="3"' in response.text
    assert not Order.objects.exists()
    assert sakura.post(order_page(one_more), {"quantity": "3", "seen": "500"}).status_code == 302
    assert Order.objects.get().yen == 1500


def test_nobody_names_his_own_price_or_limit(
    sakura: Client, tanaka: Account, larger: Option
) -> None:
    form = {
        "account": "tanaka", "seen": "500", "setup_yen": "0", "amount": "999999999", "state":
        "granted", "quantity": "50", "limit_after": "999999999",
    }  # fmt: skip
    sakura.post(order_page(larger), form)
    order = Order.objects.get()
    assert (order.state, order.yen, order.more) == (OrderState.ASKED, 500, larger.amount)
    assert not Change.objects.pending().exists()
    assert sakura.post(order_page(larger), {"account": "tanaka", "seen": "0"}).status_code == 422


@pytest.mark.parametrize("typed", ["tanaka", " Tanaka ", "tanaka@example.com"])
def test_account_is_named_as_people_do(
    sakura: Client, tanaka: Account, larger: Option, typed: str
) -> None:
    sakura.post(order_page(larger), {"account": typed, "seen": "500"})
    assert Order.objects.get().account_id == tanaka.pk


@pytest.mark.parametrize("typed", ["nobody", "info", "a\0b", "' OR 1=1 --", "x" * 400, ""])
def test_account_of_nobody_or_another_is_refused(
    cast: Cast, sakura: Client, larger: Option, typed: str
) -> None:
    factories.make_account(cast.other, "info")
    response = sakura.post(order_page(larger), {"account": typed, "seen": "500"})
    assert response.status_code == 422
    assert 'id="account-error"' in response.text
    assert not Order.objects.exists()


def test_page_says_what_the_account_has_now(
    sakura: Client, tanaka: Account, larger: Option, messages: Option
) -> None:
    assert "10 MB" in sakura.get(order_page(larger, "&account=tanaka")).text
    assert "3 MB" in sakura.get(order_page(messages, "&account=tanaka")).text


@pytest.mark.parametrize(
    "query", ["?option=x", "?option=-1", "?option=%EF%BC%91", "?option=" + "9" * 30]
)
def test_odd_option_is_not_found(sakura: Client, one_more: Option, query: str) -> None:
    assert sakura.get(f"{OPTIONS}order/{query}").status_code == 404


def test_option_that_is_gone_is_said(sakura: Client, one_more: Option) -> None:
    Option.objects.update(is_offered=False)
    for method in (sakura.get, sakura.post):
        text = method(order_page(one_more), {"quantity": "1", "seen": "300"}, follow=True).text
        assert "This option is no longer offered." in text
    assert not Order.objects.exists()


# What became of it.


def test_page_shows_each_state(
    sakura: Client, com: Domain, tanaka: Account, one_more: Option, larger: Option
) -> None:
    Order.objects.ask(domain=com, option=one_more).refuse("今月は承れません。")
    Order.objects.ask(domain=com, option=one_more).take_back()
    Order.objects.ask(domain=com, option=larger, account=tanaka).grant()
    asked = Order.objects.ask(domain=com, option=one_more, quantity=3)
    text = sakura.get(OPTIONS).text
    for words in ("Asked", "Granted", "Refused", "Taken back", "今月は承れません。"):
        assert words in text
    assert "10 MB → 20 MB" in text
    assert "900 yen set-up" in text
    # It says from when, and asks again until the mail server has it.
    factories.answer()
    assert re.search(r"at about \d+:\d\d", sakura.get(OPTIONS).text)
    assert "hx-trigger" in text
    factories.settle()
    assert f"{OPTIONS}orders/{asked.pk}/take-back/" in text


def test_order_is_taken_back_until_it_is_decided(
    sakura: Client, com: Domain, one_more: Option
) -> None:
    order = Order.objects.ask(domain=com, option=one_more)
    path = f"{OPTIONS}orders/{order.pk}/take-back/"
    assert "Take this order back?" in sakura.get(path).text
    assert Order.objects.get().is_open
    assert "Taken back: 1 more POP account" in sakura.post(path, follow=True).text
    assert Order.objects.get().state == OrderState.TAKEN_BACK
    second = Order.objects.ask(domain=com, option=one_more)
    second.grant()
    path = f"{OPTIONS}orders/{second.pk}/take-back/"
    assert "no longer open. Its state: Granted." in sakura.post(path, follow=True).text
    assert Domain.objects.get(pk=com.pk).account_limit == 11


def test_list_of_orders_has_pages(sakura: Client, com: Domain, one_more: Option) -> None:
    for _number in range(31):
        Order.objects.ask(domain=com, option=one_more).take_back()
    assert "1 to 30 of 31" in sakura.get(OPTIONS).text
    assert "31 to 31 of 31" in sakura.get(f"{OPTIONS}?page=2").text


def test_queries_do_not_grow_with_the_orders(
    sakura: Client, com: Domain, larger: Option, django_assert_max_num_queries: object
) -> None:
    for name in ("tanaka", "suzuki", "ito"):
        account = factories.make_account(com, name)
        Order.objects.ask(domain=com, option=larger, account=account).grant()
    assert callable(django_assert_max_num_queries)
    with django_assert_max_num_queries(12):
        sakura.get(OPTIONS)


# Plans without self-service.


def test_managed_plan_shows_the_same_pages_with_ask_us(
    cast: Cast, sakura: Client, tanaka: Account, one_more: Option
) -> None:
    manage(cast)
    for path, about in (
        (USERS, "accounts"),
        (OPTIONS, "options"),
        (order_page(one_more), "options"),
        ("/domains/example.com/webmail/", "webmail"),
        (f"{USERS}{tanaka.pk}/ftp/", "ftp"),
        (f"{USERS}{tanaka.pk}/ssh/", "ssh"),
    ):
        response = sakura.get(path)
        assert response.status_code == 200
        assert f'href="{CONTACT}?about={about}"' in response.text, path
        main = response.text.partition("<main")[2]
        assert '<form method="post"' not in main, path
        assert '<form class="stack" method="post"' not in main, path
    assert sakura.post(order_page(one_more), {"quantity": "1", "seen": "300"}).status_code == 403
    assert not Order.objects.exists()


def test_managed_plan_imports_forwards_alone_and_is_told_whom_to_ask(
    cast: Cast, sakura: Client
) -> None:
    manage(cast)
    page = sakura.get("/domains/example.com/csv/").text
    assert f'href="{CONTACT}?about=accounts"' in page
    assert 'value="accounts" required disabled' in page


def test_ask_us_brings_its_subject_along(cast: Cast, sakura: Client) -> None:
    manage(cast)
    assert 'name="subject" value="POP accounts"' in sakura.get(f"{CONTACT}?about=accounts").text
    assert 'name="subject" value=""' in sakura.get(f"{CONTACT}?about=%3Cscript%3E").text


# The fixed account.


def test_fixed_account_is_locked_with_the_manuals_reason(sakura: Client, cast: Cast) -> None:
    text = sakura.get(USERS).text
    assert (
        "Fixed for the administration of the service; please write to us from this address." in text
    )
    assert f'href="{CONTACT}"' in text
    fixed = cast.com.fixed_account_id
    assert f"{fixed}/delete/" not in text
    page = sakura.get(f"{USERS}{fixed}/delete/")
    assert f'href="{CONTACT}"' in page.text
    assert sakura.post(f"{USERS}{fixed}/delete/").status_code == 422


def test_order_survives_an_ended_login(cast: Cast, one_more: Option) -> None:
    client = browser()
    client.post(order_page(one_more), {"quantity": "7", "seen": "300"})
    client.force_login(cast.sakura.user, "django.contrib.auth.backends.ModelBackend")
    assert 'value="7"' in client.get(order_page(one_more)).text
    assert not Order.objects.exists()
