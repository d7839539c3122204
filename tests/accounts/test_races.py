"""Two customers in the same instant: on PostgreSQL as in production, and on SQLite."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Account, Domain
from propagation.models import Change
from tests import factories
from tests.conftest import Cast, logged_in
from tests.races import Meanwhile, at_once, meeting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]
TAKEN = "Error: User exists. Choose another username."


@pytest.mark.parametrize(
    ("point", "after"), [("full_clean", True), ("_find_room", True), ("save", False)]
)
def test_two_customers_asking_for_one_name_get_one_account_and_one_error(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, point: str, after: bool
) -> None:
    browsers = {
        "example.com": logged_in(cast.sakura.user),
        "wakaba.example": logged_in(cast.wakaba.user),
    }
    form = {"name": "info", "password": factories.PASSWORD}
    came = meeting(monkeypatch, Account, point, after=after)
    answers = at_once(
        *(
            partial(client.post, f"/domains/{name}/users/", form)
            for name, client in browsers.items()
        )
    )
    assert sorted(answer.status_code for answer in answers) == [302, 422]
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert refused.text.count(TAKEN) == 1
    assert Account.objects.filter(name="info").count() == 1
    assert Change.objects.pending().filter(key="mailbox:info").count() == 1
    assert came


def test_one_name_asked_for_twice_by_one_customer_is_one_account(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, Account, "full_clean", after=True)
    answers = at_once(*[partial(factories.make_account, cast.com, "info")] * 2)
    assert sum(isinstance(answer, Account) for answer in answers) == 1
    assert [error.messages for error in answers if isinstance(error, ValidationError)] == [[TAKEN]]


@pytest.mark.parametrize("point", ["_find_room", "insert"])
def test_two_cannot_share_the_last_place_in_a_plan(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    cast.plan.account_limit = 2  # the fixed account has the first
    cast.plan.save(update_fields=["account_limit"])
    meeting(monkeypatch, Account, point)
    answers = at_once(
        *(
            partial(factories.make_account, Domain.objects.get(pk=cast.com.pk), name)
            for name in "ab"
        )
    )
    assert [error.code for error in answers if isinstance(error, ValidationError)] == ["full"]
    assert cast.com.accounts.count() == 2


def test_two_last_places_are_both_given_away(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.plan.account_limit = 3
    cast.plan.save(update_fields=["account_limit"])
    meeting(monkeypatch, Account, "insert")
    answers = at_once(
        *(
            partial(factories.make_account, Domain.objects.get(pk=cast.com.pk), name)
            for name in "ab"
        )
    )
    assert [type(answer) for answer in answers] == [Account, Account]


def test_two_domains_with_one_label_make_one_fixed_account(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, Domain, "full_clean", after=True)

    def opened(name: str, customer: Any) -> Domain:
        return factories.make_domain(name, customer=customer, plan=cast.plan, server=cast.server)

    answers = at_once(
        partial(opened, "shop.example", cast.sakura), partial(opened, "shop.test", cast.wakaba)
    )
    assert sum(isinstance(answer, Domain) for answer in answers) == 1
    assert sum(isinstance(answer, ValidationError) for answer in answers) == 1, answers
    assert Account.objects.filter(name="shop").count() == 1


def test_password_set_while_the_size_changes_loses_neither(tanaka_of: Account) -> None:
    both = at_once(
        partial(tanaka_of.set_password, "another-long-word"),
        partial(tanaka_of.limit, quota_bytes=12345),
    )
    assert both == [None, None]
    change = factories.pending(tanaka_of.key)
    tanaka_of.refresh_from_db()
    assert change.after is not None
    assert change.after["quota_bytes"] == tanaka_of.quota_bytes == 12345
    assert change.after_secret == tanaka_of.password_hash


def test_password_cannot_slip_in_behind_a_deletion(tanaka_of: Account) -> None:
    late = Meanwhile(partial(tanaka_of.set_password, "another-long-word"))
    with transaction.atomic():
        Account.objects.get(pk=tanaka_of.pk).delete_later()
        late.begin()
    assert isinstance(late.ended(), ValidationError)
    assert factories.pending(tanaka_of.key).removes


@pytest.fixture
def tanaka_of(cast: Cast) -> Account:
    """A live account."""
    account = factories.make_account(cast.com, "tanaka")
    factories.settle()
    return account
