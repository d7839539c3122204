"""The operator's pages: prices, decisions on one order and on many, and the yearly list."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import translation

from accounts.models import MEGABYTE, Account, Customer, Domain
from history.models import Entry
from orders import billing
from orders.models import Option, Order, OrderState
from tests import factories
from tests.conftest import Cast, logged_in

ORDERS = "/admin/orders/order/"
TOKYO = ZoneInfo("Asia/Tokyo")


def act(operator: Client, action: str, *orders: Order, **form: Any) -> str:
    """Do an action with orders; return the page that follows."""
    sent = {"action": action, "_selected_action": [one.pk for one in orders], **form}
    return operator.post(ORDERS, sent, follow=True).text


def test_many_are_granted_each_by_itself(
    cast: Cast, operator: Client, tanaka: Account, one_more: Option, larger: Option
) -> None:
    gone = factories.make_account(cast.com, "suzuki")
    orders = [
        Order.objects.ask(domain=cast.com, option=one_more),
        Order.objects.ask(domain=cast.com, option=larger, account=tanaka),
        Order.objects.ask(domain=cast.com, option=larger, account=gone),
        Order.objects.ask(domain=cast.other, option=one_more),
    ]
    gone.delete_later()
    orders[3].take_back()
    text = act(operator, "grant_orders", *orders)
    assert "2 orders granted." in text
    assert "This account no longer exists." in text
    assert "no longer open. Its state: Taken back." in text
    assert [Order.objects.get(pk=one.pk).state for one in orders] == [
        OrderState.GRANTED, OrderState.GRANTED, OrderState.ASKED, OrderState.TAKEN_BACK,
    ]  # fmt: skip
    granted = Order.objects.get(pk=orders[0].pk)
    assert granted.ended_by == cast.operator
    assert Domain.objects.get(pk=cast.com.pk).account_limit == 11
    assert Account.objects.get(pk=tanaka.pk).size == 20 * MEGABYTE
    assert factories.pending(tanaka.key).made_by == cast.operator


def test_many_are_refused_with_a_reason(cast: Cast, operator: Client, one_more: Option) -> None:
    orders = [Order.objects.ask(domain=one, option=one_more) for one in (cast.com, cast.net)]
    assert "Give a reason: the customer reads it." in act(operator, "refuse_orders", *orders)
    assert Order.objects.asked().count() == 2
    assert "2 orders refused." in act(operator, "refuse_orders", *orders, because="来月から")
    assert set(Order.objects.values_list("state", "reason")) == {("refused", "来月から")}


def test_one_is_decided_on_its_page(cast: Cast, operator: Client, one_more: Option) -> None:
    order = Order.objects.ask(domain=cast.com, option=one_more)
    page = f"{ORDERS}{order.pk}/change/"
    assert 'name="decision"' in operator.get(page).text
    text = operator.post(page, {"decision": "refuse", "because": ""}).text
    assert "Give a reason: the customer reads it." in text
    assert operator.post(page, {"decision": "grant"}).status_code == 302
    assert Domain.objects.get(pk=cast.com.pk).account_limit == 11
    text = operator.get(page).text
    assert 'name="decision"' not in text
    assert operator.post(page, {"decision": "refuse", "because": "no"}).status_code == 403
    assert Order.objects.get().state == OrderState.GRANTED


def test_operator_orders_for_a_customer_who_asked_by_mail(
    cast: Cast, operator: Client, tanaka: Account, one_more: Option, larger: Option
) -> None:
    form = {"domain": cast.com.pk, "quantity": "2", "account": ""}
    operator.post(f"{ORDERS}add/", {**form, "option": one_more.pk})
    text = operator.post(f"{ORDERS}add/", {**form, "option": larger.pk}).text
    assert "has no account of this name" in text
    operator.post(f"{ORDERS}add/", {**form, "option": larger.pk, "account": "tanaka"})
    assert [one.what for one in Order.objects.order_by("pk")] == [
        "2 more POP accounts",
        "A mailbox larger by 10 MB",
    ]


def test_another_price_counts_for_later_orders(
    cast: Cast, operator: Client, one_more: Option
) -> None:
    first = Order.objects.ask(domain=cast.com, option=one_more)
    form = {"kind": "account", "amount": "1", "setup_yen": "500", "is_offered": "on"}
    page = f"/admin/orders/option/{one_more.pk}/change/"
    assert operator.post(page, form).status_code == 302
    later = Order.objects.ask(domain=cast.net, option=one_more)
    assert (first.yen, later.yen) == (300, 500)
    again = operator.post("/admin/orders/option/add/", form).text
    assert "This option is there already." in again


def test_operators_page_loses_no_limit_granted_meanwhile(
    cast: Cast, operator: Client, tanaka: Account, one_more: Option, larger: Option
) -> None:
    """Pages that were open while an order was granted, and are saved for something else."""
    big = factories.make_plan("big")
    Order.objects.ask(domain=cast.com, option=one_more).grant()
    Order.objects.ask(domain=cast.com, option=larger, account=tanaka).grant()
    opened = {"plan": big.pk, "extra_accounts": "0", "initial-extra_accounts": "0"}
    operator.post(f"/admin/accounts/domain/{cast.com.pk}/change/", opened)
    com = Domain.objects.get(pk=cast.com.pk)
    assert (com.plan, com.extra_accounts) == (big, 1)
    opened = {
        "quota_bytes": "", "initial-quota_bytes": "", "recipients_per_day": "50",
        "initial-recipients_per_day": "", "pop_before_smtp": "on",
        "initial-pop_before_smtp": "True",
    }  # fmt: skip
    operator.post(f"/admin/accounts/account/{tanaka.pk}/change/", opened)
    tanaka.refresh_from_db()
    assert (tanaka.quota_bytes, tanaka.recipients_per_day) == (20 * MEGABYTE, 50)


def test_operator_takes_accounts_away_again(cast: Cast, operator: Client) -> None:
    cast.com.add_accounts(3)
    page = f"/admin/accounts/domain/{cast.com.pk}/change/"
    form = {"plan": cast.plan.pk, "extra_accounts": "1", "initial-extra_accounts": "3"}
    operator.post(page, form)
    assert Domain.objects.get(pk=cast.com.pk).account_limit == 11
    told = Entry.objects.get(domain="example.com", area="domain", what="limit")
    assert told.values == {"accounts": [13, 11]}


# The yearly list.


def granted(domain: Domain, option: Option, at: datetime, **fields: Any) -> Order:
    """Return an order granted at some time."""
    order = Order.objects.ask(domain=domain, option=option, **fields)
    order.grant()
    Order.objects.filter(pk=order.pk).update(ended_at=at)
    return order


def rows(content: bytes) -> list[dict[str, str]]:
    """Read a list as Excel would."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_list_has_a_year_of_granted_orders(
    cast: Cast, operator: Client, tanaka: Account, one_more: Option, larger: Option
) -> None:
    eve = datetime(2025, 12, 31, 23, 59, 59, tzinfo=TOKYO)
    first = datetime(2026, 1, 1, tzinfo=TOKYO)
    last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=TOKYO)
    granted(cast.com, one_more, eve)
    granted(cast.com, one_more, first, quantity=2)
    granted(cast.com, larger, last, account=tanaka)
    Order.objects.ask(domain=cast.com, option=one_more).refuse("no")
    Order.objects.ask(domain=cast.net, option=one_more).take_back()
    Order.objects.ask(domain=cast.other, option=one_more)
    response = operator.get(f"{ORDERS}billing/?year=2026")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "plusmail-options-2026.csv" in response.headers["Content-Disposition"]
    assert response.content.startswith(b"\xef\xbb\xbf")
    found = rows(response.content)
    assert [(row["Option"], row["POP account"], row["Price (yen)"]) for row in found] == [
        ("2 more POP accounts", "", "600"),
        ("A mailbox larger by 10 MB", "tanaka", "500"),
    ]
    assert (found[0]["Customer"], found[0]["Domain"]) == ("株式会社さくら商店", "example.com")
    assert (found[0]["Granted on"], found[1]["Granted on"]) == ("2026-01-01", "2026-12-31")
    assert (found[0]["Limit before"], found[0]["Limit now"]) == ("11", "13")
    assert (found[1]["Limit before"], found[1]["Limit now"]) == ("10 MB", "20 MB")


def test_list_says_where_an_account_is_gone(cast: Cast, tanaka: Account, larger: Option) -> None:
    granted(cast.com, larger, datetime(2026, 5, 1, tzinfo=TOKYO), account=tanaka)
    tanaka.delete_later()
    factories.settle()
    with translation.override("en"):
        [row] = rows(billing.yearly_list(2026))
    assert (row["POP account"], row["Limit now"]) == ("tanaka", "")


@pytest.mark.parametrize(
    "name", ["=1+1", "+81-3", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "\r=1", "%0A", "|cmd"]
)
def test_no_cell_is_a_formula(cast: Cast, one_more: Option, name: str) -> None:
    Customer.objects.filter(pk=cast.sakura.pk).update(name=name)
    granted(cast.com, one_more, datetime(2026, 5, 1, tzinfo=TOKYO))
    with translation.override("en"):
        [row] = rows(billing.yearly_list(2026))
    assert row["Customer"] == f"'{name}"


def test_list_is_the_operators_alone(cast: Cast) -> None:
    response = logged_in(cast.sakura.user).get(f"{ORDERS}billing/?year=2026")
    assert response.status_code == 302
    assert "/login/" in response.headers["Location"]
    cast.sakura.user.is_staff = True
    cast.sakura.user.save()
    assert logged_in(cast.sakura.user).get(f"{ORDERS}billing/?year=2026").status_code == 403


@pytest.mark.parametrize("year", ["", "x", "１２３４", "0", "20266", "-202"])
def test_odd_year_is_not_found(operator: Client, year: str) -> None:
    assert operator.get(f"{ORDERS}billing/", {"year": year}).status_code == 404


def test_list_of_orders_leads_to_the_lists(cast: Cast, operator: Client, one_more: Option) -> None:
    granted(cast.com, one_more, datetime(2025, 5, 1, tzinfo=TOKYO))
    assert "billing/?year=2025" in operator.get(ORDERS).text


def test_list_comes_by_command_too(
    cast: Cast, one_more: Option, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    granted(cast.com, one_more, datetime(2026, 5, 1, tzinfo=TOKYO))
    with translation.override("ja"):
        wanted = billing.yearly_list(2026)
    call_command("list_billing", "2026", output=str(tmp_path / "list.csv"))
    assert (tmp_path / "list.csv").read_bytes() == wanted
    assert "単価(円)" in wanted.decode()
    call_command("list_billing", "2026")
    assert capsysbinary.readouterr().out == wanted
    with pytest.raises(CommandError, match="No year"):
        call_command("list_billing", "1")


# By command.


def test_option_is_offered_by_command(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("add_option", "account", "1", setup=300)
    call_command("add_option", "mailbox", "10", setup=500)
    Option.objects.update(is_offered=False)
    call_command("add_option", "mailbox", "10", setup=700)
    assert list(Option.objects.values_list("kind", "amount", "setup_yen", "is_offered")) == [
        ("account", 1, 300, False),
        ("mailbox", 10 * MEGABYTE, 700, True),
    ]
    with pytest.raises(CommandError):
        call_command("add_option", "account", "0", setup=1)


def test_option_s_size_is_written_in_megabytes(operator: Client, larger: Option) -> None:
    page = f"/admin/orders/option/{larger.pk}/change/"
    assert 'name="amount" value="10"' in operator.get(page).text
    form = {"kind": "mailbox", "amount": "25", "setup_yen": "500", "is_offered": "on"}
    assert operator.post(page, form).status_code == 302
    larger.refresh_from_db()
    assert larger.amount == 25 * MEGABYTE
    # What was not a whole number of them stays so.
    Option.objects.filter(pk=larger.pk).update(amount=1_500_000)
    assert operator.post(page, form | {"amount": "1", "setup_yen": "400"}).status_code == 302
    larger.refresh_from_db()
    assert (larger.amount, larger.setup_yen) == (1_500_000, 400)
