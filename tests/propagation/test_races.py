"""Claiming, cancelling and editing one change in the same instant."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Account
from propagation import cancel as cancelling
from propagation.cancel import cancel
from propagation.models import Change, ChangeState, TooLate
from tests import factories
from tests.conftest import Cast
from tests.races import Meanwhile, at_once, meeting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]


@pytest.fixture
def account(cast: Cast) -> Account:
    """An account whose change is pending and due."""
    new = factories.make_account(cast.com, "info")
    factories.come_due()
    return new


def take_back(account: Account) -> Any:
    """Cancel the account's change."""
    return cancel([Change.objects.get(key=account.key)])


def test_change_cancelled_twice_at_once_is_cancelled_once(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, cancelling, "with_dependents", after=True)
    answers = at_once(*[partial(take_back, account)] * 2)
    assert sum(isinstance(answer, TooLate) for answer in answers) == 1, answers
    assert sum(isinstance(answer, list) for answer in answers) == 1
    assert not Account.objects.filter(name="info").exists()


def test_cancellation_that_meets_a_claim_is_too_late(cast: Cast, account: Account) -> None:
    late = Meanwhile(partial(take_back, account))
    with transaction.atomic():
        assert len(Change.objects.claim_due(cast.server)) == 1
        late.begin()
    assert isinstance(late.ended(), TooLate)
    assert factories.state_of(account.key) == ChangeState.APPLYING
    assert Account.objects.filter(name="info").exists()


def test_claim_that_meets_a_cancellation_takes_nothing(cast: Cast, account: Account) -> None:
    late = Meanwhile(partial(Change.objects.claim_due, cast.server))
    with transaction.atomic():
        take_back(account)
        late.begin()
    assert late.ended() == []
    assert factories.state_of(account.key) == ChangeState.CANCELLED


def test_claim_and_cancellation_together_agree(cast: Cast, account: Account) -> None:
    claimed, cancelled = at_once(
        partial(Change.objects.claim_due, cast.server), partial(take_back, account)
    )
    state = factories.state_of(account.key)
    if state == ChangeState.APPLYING:
        assert (len(claimed), type(cancelled)) == (1, TooLate)
    else:
        assert state == ChangeState.CANCELLED
        assert (claimed, len(cancelled)) == ([], 1)


def test_edit_that_meets_a_claim_becomes_a_change_after_it(cast: Cast, account: Account) -> None:
    late = Meanwhile(partial(account.set_password, "another-long-word"))
    with transaction.atomic():
        claimed = Change.objects.claim_due(cast.server)
        late.begin()
    assert late.ended() is None
    states = list(
        Change.objects.filter(key=account.key).order_by("pk").values_list("state", flat=True)
    )
    assert states == ["applying", "pending"]
    assert factories.pending(account.key).was() == claimed[0].entry().record


def test_two_edits_of_one_record_leave_one_change_that_says_what_the_row_says(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, Account, "refuse_if_leaving")
    words = ("another-long-word", "yet-another-word")
    assert at_once(*(partial(account.set_password, word) for word in words)) == [None, None]
    account.refresh_from_db()
    assert factories.pending(account.key).after_secret == account.password_hash


def test_forward_made_while_its_mailbox_is_taken_back_waits_for_nothing_that_is_gone(
    cast: Cast, account: Account
) -> None:
    forwarding = Meanwhile(partial(factories.make_forward, cast.com, "sales", account.address))
    with transaction.atomic():
        take_back(account)
        forwarding.begin()
    assert not isinstance(forwarding.ended(), ValidationError), forwarding.outcome
    assert factories.settle() == ["address:sales@example.com"]
