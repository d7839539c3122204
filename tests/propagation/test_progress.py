"""What a row says about its record."""

from datetime import timedelta

from django.utils.timezone import now
from pytest_django import DjangoAssertNumQueries
from time_machine import TimeMachineFixture

from accounts.models import Account, Domain
from mailhost.host import Status
from propagation.models import Change
from propagation.progress import Progress, Stage, minutes_until, progress_of
from tests import factories


def progress(account: Account) -> Progress:
    """Return the state of an account."""
    return progress_of(account.server_id, [account.key])[account.key]


def test_new_account_waits_fifteen_minutes(com: Domain, time_machine: TimeMachineFixture) -> None:
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)
    state = progress(factories.make_account(com, "info"))
    assert state.stage is Stage.WAITING
    assert (state.creating, state.removing, state.pending, state.minutes_left) == (
        True,
        False,
        True,
        15,
    )


def test_account_on_its_way_can_no_longer_be_taken_back(com: Domain) -> None:
    account = factories.make_account(com, "info")
    factories.come_due()
    Change.objects.claim_due(com.server)
    state = progress(account)
    assert (state.stage, state.pending) == (Stage.APPLYING, False)


def test_failing_account_says_so(com: Domain) -> None:
    account = factories.make_account(com, "info")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    assert progress(account).stage is Stage.FAILING


def test_confirmed_account_says_since_when_for_an_hour(tanaka: Account) -> None:
    assert progress(tanaka).applied_at is not None
    Change.objects.update(ended_at=now() - timedelta(hours=2))
    state = progress(tanaka)
    assert (state.stage, state.applied_at) == (Stage.LIVE, None)


def test_newest_edit_decides(com: Domain, tanaka: Account) -> None:
    tanaka.set_password("another-long-word")
    factories.come_due()
    Change.objects.claim_due(com.server)
    tanaka.delete_later()
    state = progress(tanaka)
    assert (state.stage, state.removing) == (Stage.WAITING, True)


def test_minutes_are_rounded_up_and_never_negative() -> None:
    assert minutes_until(now() + timedelta(seconds=61)) == 2
    assert minutes_until(now() - timedelta(seconds=61)) == 0


def test_any_number_of_records_costs_one_query(
    com: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        progress_of(com.server_id, [f"mailbox:user{number}" for number in range(500)])
