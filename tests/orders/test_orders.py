"""Orders: how one comes to be, and the only ways it goes from there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import translation

from accounts.models import MEGABYTE, Account, Domain
from orders.models import Option, Order, OrderState
from propagation.cancel import cancel
from propagation.models import Change
from tests import factories
from tests.conftest import Cast
from tests.races import at_once, meeting


def codes(error: pytest.ExceptionInfo[ValidationError]) -> set[str | None]:
    """Return the codes of a refusal."""
    found = error.value.error_list if hasattr(error.value, "error_list") else []
    return {one.code for one in found}


def test_granted_account_raises_the_domains_limit_at_once(com: Domain, one_more: Option) -> None:
    order = Order.objects.ask(domain=com, option=one_more, quantity=2)
    assert (order.state, order.yen) == (OrderState.ASKED, 600)
    assert Domain.objects.get(pk=com.pk).account_limit == 10
    before = Change.objects.count()
    order.grant()
    assert Domain.objects.get(pk=com.pk).account_limit == 12
    assert (order.state, order.limit_before, order.limit_after) == (OrderState.GRANTED, 10, 12)
    # No mail server counts accounts.
    assert Change.objects.count() == before


def test_granted_account_can_be_added_and_no_more(cast: Cast, one_more: Option) -> None:
    cast.plan.account_limit = 1
    cast.plan.save(update_fields=["account_limit"])
    com = Domain.objects.get(pk=cast.com.pk)
    with pytest.raises(ValidationError) as refused:
        factories.make_account(com, "tanaka")
    assert codes(refused) == {"full"}
    Order.objects.ask(domain=com, option=one_more).grant()
    com = Domain.objects.get(pk=com.pk)
    factories.make_account(com, "tanaka")
    with pytest.raises(ValidationError) as refused:
        factories.make_account(com, "suzuki")
    assert codes(refused) == {"full"}


def test_granted_mailbox_and_messages_go_to_the_mail_server(
    tanaka: Account, larger: Option, messages: Option
) -> None:
    orders = [
        Order.objects.ask(domain=tanaka.domain, option=option, account=tanaka)
        for option in (larger, messages)
    ]
    assert not Change.objects.pending().exists()
    for order in orders:
        order.grant()
    tanaka.refresh_from_db()
    assert (tanaka.quota_bytes, tanaka.message_bytes) == (20 * MEGABYTE, 10 * MEGABYTE)
    after = factories.pending(tanaka.key).after
    assert after is not None
    assert after["quota_bytes"] == 20 * MEGABYTE
    assert after["message_bytes"] == 10 * MEGABYTE


def test_second_one_adds_to_the_first(tanaka: Account, larger: Option) -> None:
    for _time in range(2):
        Order.objects.ask(domain=tanaka.domain, option=larger, account=tanaka).grant()
    tanaka.refresh_from_db()
    assert tanaka.size == 30 * MEGABYTE
    assert [order.change_of_limit for order in Order.objects.order_by("pk")] == [
        "10 MB → 20 MB",
        "20 MB → 30 MB",
    ]


def test_owner_cannot_take_a_granted_size_back_with_the_change(
    sakura: Client, tanaka: Account, larger: Option
) -> None:
    Order.objects.ask(domain=tanaka.domain, option=larger, account=tanaka).grant()
    change = factories.pending(tanaka.key)
    assert sakura.post(f"/domains/example.com/changes/{change.pk}/cancel/").status_code == 403
    # The operator can: the order still says what was granted, and the page what there is.
    cancel([change])
    tanaka.refresh_from_db()
    assert tanaka.size == 10 * MEGABYTE


@pytest.mark.parametrize("first", ["grant", "refuse", "take_back"])
def test_what_was_decided_stays(com: Domain, one_more: Option, first: str) -> None:
    order = Order.objects.ask(domain=com, option=one_more)
    ways: dict[str, Callable[[Order], None]] = {
        "grant": Order.grant,
        "refuse": partial(Order.refuse, reason="Not now."),
        "take_back": Order.take_back,
    }
    stale = Order.objects.get(pk=order.pk)
    ways[first](order)
    state, limit = order.state, Domain.objects.get(pk=com.pk).account_limit
    for way in ways.values():
        with pytest.raises(ValidationError) as refused:
            way(stale)
        assert codes(refused) == {"decided"}
    assert Order.objects.get().state == state
    assert Domain.objects.get(pk=com.pk).account_limit == limit


def test_refusal_has_a_reason_in_one_line(com: Domain, one_more: Option) -> None:
    order = Order.objects.ask(domain=com, option=one_more)
    for nothing in ("", " \n "):
        with pytest.raises(ValidationError) as refused:
            order.refuse(nothing)
        assert codes(refused) == {"reason"}
    with pytest.raises(ValidationError) as refused:
        order.refuse("x" * 301)
    assert codes(refused) == {"long"}
    order.refuse("今月は\n承れません。")
    assert Order.objects.get().reason == "今月は 承れません。"


def test_one_open_order_of_a_kind(com: Domain, tanaka: Account, one_more: Option) -> None:
    order = Order.objects.ask(domain=com, option=one_more)
    with pytest.raises(ValidationError, match="already"), translation.override("en"):
        Order.objects.ask(domain=com, option=one_more)
    order.take_back()
    Order.objects.ask(domain=com, option=one_more)


def test_one_open_order_of_a_kind_for_an_account(
    com: Domain, tanaka: Account, larger: Option, messages: Option
) -> None:
    suzuki = factories.make_account(com, "suzuki")
    for option, account in ((larger, tanaka), (messages, tanaka), (larger, suzuki)):
        Order.objects.ask(domain=com, option=option, account=account)
    with pytest.raises(ValidationError, match="already"), translation.override("en"):
        Order.objects.ask(domain=com, option=larger, account=tanaka)


def test_price_is_the_one_that_was_shown(com: Domain, one_more: Option) -> None:
    one_more.setup_yen = 500
    one_more.save()
    with pytest.raises(ValidationError) as refused:
        Order.objects.ask(domain=com, option=one_more, seen_yen=300)
    assert codes(refused) == {"price"}
    order = Order.objects.ask(domain=com, option=one_more, seen_yen=500)
    Option.objects.update(setup_yen=900)
    order.grant()
    assert order.yen == 500


def test_what_is_not_offered_cannot_be_ordered(com: Domain, one_more: Option) -> None:
    Option.objects.update(is_offered=False)
    with pytest.raises(ValidationError) as refused:
        Order.objects.ask(domain=com, option=one_more)
    assert codes(refused) == {"gone"}


@pytest.mark.parametrize("quantity", [0, -1, 100])
def test_quantity_has_bounds(com: Domain, one_more: Option, quantity: int) -> None:
    with pytest.raises(ValidationError):
        Order.objects.ask(domain=com, option=one_more, quantity=quantity)
    assert not Order.objects.exists()


def test_another_domains_account_gets_nothing(net: Domain, tanaka: Account, larger: Option) -> None:
    with pytest.raises(ValidationError) as refused:
        Order.objects.ask(domain=net, option=larger, account=tanaka)
    assert codes(refused) == {"gone"}


def test_account_that_is_going_gets_nothing(tanaka: Account, larger: Option) -> None:
    order = Order.objects.ask(domain=tanaka.domain, option=larger, account=tanaka)
    tanaka.delete_later()
    with pytest.raises(ValidationError) as refused:
        order.grant()
    assert codes(refused) == {"leaving"}
    factories.settle()
    with pytest.raises(ValidationError) as refused:
        order.grant()
    assert codes(refused) == {"gone"}
    order.refresh_from_db()
    assert order.is_open
    order.refuse("The account is gone.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.long
def test_granted_twice_at_once_it_counts_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    option = Option.objects.create(kind="account", amount=1, setup_yen=300)
    order = Order.objects.ask(domain=cast.com, option=option)
    meeting(monkeypatch, Order, "grant")
    answers = at_once(*[Order.objects.get(pk=order.pk).grant for _time in range(2)])
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "ValidationError"]
    assert Domain.objects.get(pk=cast.com.pk).account_limit == 11


@pytest.mark.django_db(transaction=True)
@pytest.mark.long
def test_granted_and_taken_back_at_once_one_of_them_wins(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = Option.objects.create(kind="account", amount=1, setup_yen=300)
    order = Order.objects.ask(domain=cast.com, option=option)
    mine, operators = (Order.objects.get(pk=order.pk) for _time in range(2))
    meeting(monkeypatch, Order, "_refuse_unless_asked", after=True)
    answers = at_once(mine.take_back, operators.grant)
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "ValidationError"]
    order.refresh_from_db()
    granted = order.state == OrderState.GRANTED
    assert Domain.objects.get(pk=cast.com.pk).account_limit == (11 if granted else 10)
