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
KEY = "domain:example.com"


@pytest.fixture
def big(cast: Cast) -> Plan:
    """A plan with larger mailboxes, which the server knows."""
    plan = factories.make_plan("big", mailbox_bytes=50_000_000)
    factories.settle()
    return plan


def test_plan_of_a_domain_is_one_change_for_all_its_accounts(
    com: Domain, tanaka: Account, big: Plan
) -> None:
    com.change_plan(big)
    assert com.plan == big
    assert [change.key for change in Change.objects.pending()] == [KEY]
    after = factories.pending(KEY).after
    assert after is not None
    assert after["plan"] == "big"
    assert Account.objects.get(pk=tanaka.pk).size == 50_000_000


def test_account_with_a_size_of_its_own_keeps_it(com: Domain, tanaka: Account, big: Plan) -> None:
    tanaka.limit(quota_bytes=1_000_000)
    factories.settle()
    com.change_plan(big)
    assert Account.objects.get(pk=tanaka.pk).size == 1_000_000


def test_plan_it_has_already_is_no_news(com: Domain) -> None:
    com.change_plan(com.plan)
    assert not Change.objects.pending().exists()


def test_gone_domain_gets_no_plan(com: Domain, big: Plan) -> None:
    com.pk = 10**6
    with pytest.raises(ValidationError):
        com.change_plan(big)


def test_owner_does_not_take_a_plan_back(com: Domain, sakura: Client, big: Plan) -> None:
    com.change_plan(big)
    path = f"{HOME}changes/{factories.pending(KEY).pk}/cancel/"
    for page in ("", "users/"):
        assert path not in sakura.get(f"{HOME}{page}").text
    assert sakura.post(path, {"sure": "1"}).status_code == 403
    assert factories.state_of(KEY) == ChangeState.PENDING


def test_owner_does_not_take_a_size_back(com: Domain, sakura: Client, tanaka: Account) -> None:
    tanaka.limit(quota_bytes=1_000_000)
    path = f"{HOME}changes/{factories.pending(tanaka.key).pk}/cancel/"
    for page in ("", "users/"):
        assert path not in sakura.get(f"{HOME}{page}").text
    assert sakura.post(path, {"sure": "1"}).status_code == 403
    assert factories.state_of(tanaka.key) == ChangeState.PENDING


def test_operator_takes_a_plan_back(com: Domain, big: Plan) -> None:
    was = com.plan
    com.change_plan(big)
    cancel.cancel([factories.pending(KEY)])
    assert Domain.objects.get(pk=com.pk).plan == was
    assert not Change.objects.open().exists()
