"""Another plan for a domain: what the server hears of it, and who may take it back."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import Account, Domain, Plan
from propagation import cancel
from propagation.models import Change, ChangeState
from tests import factories
from tests.conftest import Cast

HOME = "/domains/example.com/"


@pytest.fixture
def big(cast: Cast) -> Plan:
    """A plan with larger mailboxes."""
    return factories.make_plan("big", mailbox_bytes=50_000_000)


def size(key: str) -> int:
    """Return the size that a pending change gives a mailbox."""
    after = factories.pending(key).after
    assert after is not None
    return int(after["quota_bytes"])


def test_every_account_of_the_domain_gets_the_plans_size(
    com: Domain, net: Domain, tanaka: Account, big: Plan
) -> None:
    factories.make_account(net, "elsewhere")
    factories.settle()
    com.change_plan(big)
    assert com.plan == big
    assert size("mailbox:tanaka") == size("mailbox:example") == 50_000_000
    assert not Change.objects.pending().filter(key="mailbox:elsewhere").exists()


def test_account_with_a_size_of_its_own_keeps_it(com: Domain, tanaka: Account, big: Plan) -> None:
    tanaka.resize(1_000_000)
    factories.settle()
    com.change_plan(big)
    assert not Change.objects.pending().filter(key=tanaka.key).exists()


def test_plan_of_the_same_size_is_no_news_for_the_accounts(com: Domain, tanaka: Account) -> None:
    com.change_plan(factories.make_plan("twin"))
    assert not Change.objects.pending().filter(key__startswith="mailbox:").exists()


def test_account_that_goes_goes_on_going(com: Domain, tanaka: Account, big: Plan) -> None:
    tanaka.delete_later()
    com.change_plan(big)
    assert factories.pending(tanaka.key).removes


def test_account_on_its_way_comes_in_the_new_size_and_can_be_taken_back(
    com: Domain, sakura: Client, big: Plan
) -> None:
    factories.make_account(com, "info")
    com.change_plan(big)
    assert size("mailbox:info") == 50_000_000
    path = f"{HOME}changes/{factories.pending('mailbox:info').pk}/cancel/"
    assert path in sakura.get(f"{HOME}users/").text
    sakura.post(path)
    assert factories.state_of("mailbox:info") == ChangeState.CANCELLED
    assert factories.state_of("mailbox:example") == ChangeState.PENDING


def test_gone_domain_gets_no_plan(com: Domain, big: Plan) -> None:
    com.pk = 10**6
    with pytest.raises(ValidationError):
        com.change_plan(big)


def test_owner_does_not_take_a_size_back(
    com: Domain, sakura: Client, tanaka: Account, big: Plan
) -> None:
    com.change_plan(big)
    path = f"{HOME}changes/{factories.pending(tanaka.key).pk}/cancel/"
    for page in ("", "users/"):
        assert path not in sakura.get(f"{HOME}{page}").text
    assert sakura.post(path, {"sure": "1"}).status_code == 403
    assert factories.state_of(tanaka.key) == ChangeState.PENDING


def test_operator_takes_a_size_back(com: Domain, tanaka: Account, big: Plan) -> None:
    was = tanaka.size
    com.change_plan(big)
    cancel.cancel([factories.pending(tanaka.key)])
    assert Account.objects.get(pk=tanaka.pk).size == was
