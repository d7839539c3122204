"""Deleting an account with the forwards that lead to it, and bringing both back."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils.timezone import now

from accounts import passwords
from accounts.models import NAME_TAKEN, Account, DeletedAccount, Domain
from forwarding import removal
from forwarding.models import DetachedDestination, ForwardingAddress
from propagation.cancel import cancel, group_of
from propagation.models import Change
from tests import factories


def leads(local_part: str) -> list[str] | None:
    """Return where an address of example.com leads; None if there is none."""
    row = ForwardingAddress.objects.filter(
        domain__name="example.com", local_part=local_part
    ).first()
    return row.leads_to() if row else None


@pytest.fixture
def forwards(com: Domain, tanaka: Account) -> None:
    """One forward that leads to tanaka alone, one to others as well, and a copy."""
    factories.make_forward(com, "only", "Tanaka@example.com")
    factories.make_forward(com, "both", "tanaka@example.com", "x@example.org")
    factories.make_forward(com, "tanaka", "tanaka@example.com", "y@example.org")
    factories.settle()


@pytest.mark.usefixtures("forwards")
def test_forwards_leave_the_account_and_those_without_another_end_go(tanaka: Account) -> None:
    removal.delete_account(tanaka)
    keys = factories.settle()
    assert sorted(keys) == [
        "address:both@example.com",
        "address:only@example.com",
        "address:tanaka@example.com",
        "mailbox:tanaka",
    ]
    assert leads("only") is None
    assert leads("both") == ["x@example.org"]
    assert leads("tanaka") == ["y@example.org"]


@pytest.mark.usefixtures("forwards")
def test_confirmation_names_each_forward_and_what_becomes_of_it(tanaka: Account) -> None:
    assert {str(row): rest for row, rest in removal.forwards_to(tanaka)} == {
        "only@example.com": [],
        "both@example.com": ["x@example.org"],
        "tanaka@example.com": ["y@example.org"],
    }
    assert removal.onward(tanaka) == ["y@example.org"]


@pytest.mark.usefixtures("forwards")
def test_forward_that_goes_by_itself_is_not_named(com: Domain, tanaka: Account) -> None:
    for row in com.forwarding_addresses.all():
        row.withdraw()
    assert removal.forwards_to(tanaka) == []
    assert removal.onward(tanaka) == []


def test_copy_in_another_mailbox_of_its_own_keeps_no_forward(com: Domain, tanaka: Account) -> None:
    factories.make_account(com, "suzuki")
    row = factories.make_forward(com, "suzuki", "suzuki@example.com", tanaka.address)
    factories.settle()
    assert removal.forwards_to(tanaka) == [(row, [])]


@pytest.mark.usefixtures("forwards")
def test_deletion_and_its_forwards_are_one_group(tanaka: Account) -> None:
    removal.delete_account(tanaka)
    assert len({change.group for change in Change.objects.pending()}) == 1


def test_another_customers_forward_stays_and_leads_nowhere(tanaka: Account, other: Domain) -> None:
    row = factories.make_forward(other, "w", "tanaka@example.com")
    factories.settle()
    removal.delete_account(tanaka)
    factories.settle()
    assert ForwardingAddress.objects.get(pk=row.pk).leads_to() == ["tanaka@example.com"]
    assert [str(row) for row, _ in removal.forwards_to(tanaka)] == []


def test_catch_all_that_leads_to_the_account_alone_goes_with_it(
    com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "", "tanaka@example.com")
    factories.settle()
    removal.delete_account(tanaka)
    factories.settle()
    assert leads("") is None


def test_fixed_account_is_refused_and_nothing_changes(com: Domain) -> None:
    factories.make_forward(com, "info", "example@example.com")
    factories.settle()
    with pytest.raises(ValidationError):
        removal.delete_account(com.fixed_account)
    assert not Change.objects.pending().exists()


# Bringing back.


def deleted(tanaka: Account) -> DeletedAccount:
    """Delete tanaka, confirmed by the server."""
    removal.delete_account(tanaka)
    factories.settle()
    return DeletedAccount.objects.get(pk=tanaka.pk)


@pytest.mark.usefixtures("forwards")
def test_account_comes_back_with_its_mail_password_and_forwards(tanaka: Account) -> None:
    account, _left_out = removal.restore_account(deleted(tanaka))
    assert account.pk == tanaka.pk  # names the mailbox's directory
    assert passwords.verify(factories.PASSWORD, account.password_hash)
    assert leads("only") == ["tanaka@example.com"]
    assert leads("both") == ["x@example.org", "tanaka@example.com"]
    assert leads("tanaka") == ["y@example.org", "tanaka@example.com"]
    keys = factories.settle()
    assert keys[0] == "mailbox:tanaka"
    assert len(keys) == 4
    assert not DeletedAccount.objects.exists()


@pytest.mark.usefixtures("forwards")
def test_account_comes_back_under_another_name_with_its_forwards(
    tanaka: Account, other: Domain
) -> None:
    gone = deleted(tanaka)
    factories.make_account(other, "tanaka")
    with pytest.raises(ValidationError) as refused:
        removal.restore_account(gone)
    codes = [error.code for errors in refused.value.error_dict.values() for error in errors]
    assert codes == [NAME_TAKEN]
    account, _left_out = removal.restore_account(gone, name="tanaka2")
    assert (account.pk, account.address) == (tanaka.pk, "tanaka2@example.com")
    assert leads("only") == ["tanaka2@example.com"]


def test_refused_return_leaves_everything_in_the_trash(tanaka: Account, other: Domain) -> None:
    gone = deleted(tanaka)
    factories.make_account(other, "tanaka")
    factories.settle()
    with pytest.raises(ValidationError):
        removal.restore_account(gone)
    assert DeletedAccount.objects.filter(pk=tanaka.pk).exists()
    assert not Change.objects.pending().exists()


def test_return_leaves_out_a_forward_that_would_close_a_circle(
    com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "info", "tanaka@example.com")
    factories.settle()
    gone = deleted(tanaka)
    factories.make_forward(com, "info", "x@example.org")
    factories.make_forward(com, "tanaka", "info@example.com")
    account, left_out = removal.restore_account(gone)
    assert account.address == "tanaka@example.com"
    assert [row.address for row in left_out] == ["info@example.com"]
    assert leads("info") == ["x@example.org"]


def test_account_that_is_back_is_in_the_trash_no_longer(tanaka: Account) -> None:
    removal.restore_account(deleted(tanaka))
    assert DeletedAccount.objects.get(pk=tanaka.pk).restored_at
    factories.settle()
    assert not DeletedAccount.objects.exists()


def test_account_on_its_way_back_that_is_deleted_lies_in_the_trash_again(tanaka: Account) -> None:
    account, _left_out = removal.restore_account(deleted(tanaka))
    removal.delete_account(account)
    assert not Account.objects.filter(pk=tanaka.pk).exists()
    assert list(DeletedAccount.objects.in_trash()) == [DeletedAccount.objects.get(pk=tanaka.pk)]


def test_return_counts_against_the_plan(com: Domain, tanaka: Account) -> None:
    gone = deleted(tanaka)
    com.plan.account_limit = 1
    com.plan.save(update_fields=["account_limit"])
    with pytest.raises(ValidationError) as refused:
        removal.restore_account(gone)
    assert refused.value.code == "full"


def test_forward_that_leads_elsewhere_meanwhile_gets_the_account_as_one_more(
    com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "only", "tanaka@example.com")
    factories.settle()
    gone = deleted(tanaka)
    factories.make_forward(com, "only", "z@example.org")
    removal.restore_account(gone)
    assert leads("only") == ["z@example.org", "tanaka@example.com"]


def test_account_of_the_same_name_made_meanwhile_shows_no_old_mail(
    com: Domain, tanaka: Account
) -> None:
    gone = deleted(tanaka)
    new = factories.make_account(com, "tanaka")
    assert new.pk != gone.pk


def test_two_deletions_in_a_row_remember_the_forwards_of_the_last(
    com: Domain, tanaka: Account
) -> None:
    factories.make_forward(com, "first", "tanaka@example.com")
    factories.settle()
    removal.restore_account(deleted(tanaka))
    factories.settle()
    ForwardingAddress.objects.get(local_part="first").withdraw()
    factories.make_forward(com, "second", "tanaka@example.com")
    factories.settle()
    removal.restore_account(deleted(Account.objects.get(name="tanaka")))
    assert leads("first") is None
    assert leads("second") == ["tanaka@example.com"]


def test_forwards_that_can_no_longer_come_back_are_forgotten(tanaka: Account, com: Domain) -> None:
    past = DetachedDestination.objects.create(
        mailbox_id=uuid.uuid4(),
        domain=com,
        local_part="old",
        detached_at=now() - timedelta(days=60),
    )
    removal.delete_account(tanaka)
    assert not DetachedDestination.objects.filter(pk=past.pk).exists()


def test_account_on_its_way_back_is_not_brought_back_twice(tanaka: Account) -> None:
    gone = deleted(tanaka)
    removal.restore_account(gone)
    with pytest.raises(ValidationError):
        removal.restore_account(DeletedAccount.objects.get(pk=tanaka.pk), name="tanaka2")
    assert Account.objects.filter(pk=tanaka.pk).count() == 1


def test_return_that_is_taken_back_leaves_the_account_in_the_trash(tanaka: Account) -> None:
    removal.restore_account(deleted(tanaka))
    cancel(group_of(factories.pending("mailbox:tanaka").group))
    assert not Account.objects.filter(pk=tanaka.pk).exists()
    factories.settle()
    account, _left_out = removal.restore_account(DeletedAccount.objects.get(pk=tanaka.pk))
    assert passwords.verify(factories.PASSWORD, account.password_hash)


@pytest.mark.usefixtures("forwards")
def test_return_that_is_taken_back_can_be_asked_for_again_with_its_forwards(
    tanaka: Account,
) -> None:
    removal.restore_account(deleted(tanaka))
    cancel(group_of(factories.pending("mailbox:tanaka").group))
    removal.restore_account(DeletedAccount.objects.get(pk=tanaka.pk))
    assert leads("only") == ["tanaka@example.com"]
    assert leads("both") == ["x@example.org", "tanaka@example.com"]
