"""Edits of addresses in the same instant: none closes a circle, none waits for ever."""

from __future__ import annotations

from functools import partial

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Account
from forwarding import assistant, removal, routes
from forwarding.models import ForwardingAddress
from forwarding.sources import AddressSource
from propagation.models import Change, ChangeState
from tests import factories
from tests.conftest import Cast
from tests.races import Meanwhile, at_once, meeting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]


@pytest.mark.parametrize("after", [False, True])
def test_two_edits_that_close_a_circle_together_are_one_edit_and_one_refusal(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    meeting(monkeypatch, routes, "check", after=after)
    answers = at_once(
        partial(factories.make_forward, cast.com, "a", "b@wakaba.example"),
        partial(factories.make_forward, cast.other, "b", "a@example.com"),
    )
    assert sum(isinstance(answer, ForwardingAddress) for answer in answers) == 1
    assert [error.code for error in answers if isinstance(error, ValidationError)] == ["loop"]
    assert ForwardingAddress.objects.count() == 1


def test_one_address_made_twice_is_one_address(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting(monkeypatch, routes, "check")
    answers = at_once(*[partial(factories.make_forward, cast.com, "a", "x@example.org")] * 2)
    assert [error.code for error in answers if isinstance(error, ValidationError)] == ["exists"]


def test_two_customers_deleting_accounts_do_not_wait_for_each_other(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = []
    for domain, name in ((cast.com, "tanaka"), (cast.other, "suzuki")):
        accounts.append(factories.make_account(domain, name))
        factories.make_forward(domain, "info", f"{name}@{domain.name}")
    factories.settle()
    meeting(monkeypatch, Account, "delete_later", after=True)
    assert (
        at_once(*(partial(removal.delete_account, account) for account in accounts)) == [None] * 2
    )
    assert Change.objects.pending().count() == 4


def test_two_assistants_at_once_make_two_pairs(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting(monkeypatch, Account, "insert", after=True)
    answers = at_once(
        *(
            partial(
                assistant.open_under,
                domain=domain,
                wanted="info",
                name=name,
                password=factories.PASSWORD,
            )
            for domain, name in ((cast.com, "myinfo"), (cast.other, "info2"))
        )
    )
    assert [type(answer) for answer in answers] == [tuple, tuple], answers


def test_two_assistants_with_one_proposal_make_one_pair(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, Account, "full_clean", after=True)
    answers = at_once(
        *(
            partial(
                assistant.open_under,
                domain=domain,
                wanted="info",
                name="myinfo",
                password=factories.PASSWORD,
            )
            for domain in (cast.com, cast.other)
        )
    )
    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert sum(isinstance(answer, ValidationError) for answer in answers) == 1, answers
    assert ForwardingAddress.objects.count() == 1


def test_forward_edited_while_its_account_is_deleted_ends_in_one_piece(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = factories.make_account(cast.com, "tanaka")
    row = factories.make_forward(cast.com, "info", account.address, "x@example.org")
    factories.settle()
    meeting(monkeypatch, routes, "check", after=True)
    answers = at_once(
        partial(removal.delete_account, account),
        partial(row.lead, [account.address, "y@example.org"]),
    )
    assert answers == [None, None]
    live = factories.pending("address:info@example.com").after
    assert live is not None
    assert live["destinations"] == ForwardingAddress.objects.get(pk=row.pk).leads_to()


def test_address_taken_up_again_while_its_removal_is_confirmed_keeps_its_row(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_forward(cast.com, "info", "x@example.org")
    factories.settle()
    ForwardingAddress.objects.get(local_part="info").withdraw()
    again = Meanwhile(partial(factories.make_forward, cast.com, "info", "y@example.org"))
    original = AddressSource.applied

    def applied(source: AddressSource, changes: list[Change]) -> None:
        again.begin()
        original(source, changes)

    monkeypatch.setattr(AddressSource, "applied", applied)
    factories.settle()
    assert isinstance(again.ended(), ForwardingAddress), again.outcome
    assert ForwardingAddress.objects.get(local_part="info").leads_to() == ["y@example.org"]
    assert factories.state_of("address:info@example.com") == ChangeState.PENDING
