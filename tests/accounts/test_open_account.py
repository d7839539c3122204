"""Opening an account: who gets a name, and how many a plan allows."""

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation

from accounts.models import NAME_TAKEN, Account, Domain
from propagation.cancel import cancel
from propagation.models import Change
from tests import factories
from tests.conftest import Cast

TAKEN = "Error: User exists. Choose another username."


def refusal(domain: Domain, name: str) -> ValidationError:
    """Return why this account may not be opened."""
    with pytest.raises(ValidationError) as refused:
        factories.make_account(domain, name)
    return refused.value


@pytest.mark.parametrize("language", ["en", "ja"])
def test_taken_name_is_refused_in_exactly_the_manuals_words(
    com: Domain, other: Domain, language: str
) -> None:
    factories.make_account(other, "info")
    with translation.override(language):
        assert refusal(com, "info").messages == [TAKEN]
        assert refusal(com, "INFO").messages == [TAKEN]


def test_taken_name_is_refused_alike_whoever_has_it(com: Domain, net: Domain) -> None:
    factories.make_account(net, "mine")
    assert refusal(com, "mine").messages == refusal(com, "wakaba").messages == [TAKEN]


def test_taken_name_has_a_code(com: Domain) -> None:
    refused = refusal(com, "wakaba")
    codes = [error.code for errors in refused.error_dict.values() for error in errors]
    assert codes == [NAME_TAKEN]


def test_name_stays_taken_while_its_account_is_being_deleted(com: Domain, other: Domain) -> None:
    account = factories.make_account(other, "info")
    factories.settle()
    account.delete_later()
    assert refusal(com, "info").messages == [TAKEN]
    factories.settle()
    assert factories.make_account(com, "info").address == "info@example.com"


def test_account_and_its_change_are_one_transaction(com: Domain) -> None:
    account = factories.make_account(com, "info")
    change = factories.pending(account.key)
    assert (change.creates, change.domain, change.server) == (True, "example.com", com.server)
    refusal(com, "info")
    assert Change.objects.pending().count() == 1


def test_plan_says_how_many_accounts_there_may_be(cast: Cast) -> None:
    cast.plan.account_limit = 3
    cast.plan.save(update_fields=["account_limit"])
    for name in ("one", "two"):
        factories.make_account(cast.com, name)
    assert "3" in " ".join(refusal(cast.com, "three").messages)
    assert cast.com.accounts.count() == 3


def test_account_that_is_being_deleted_still_has_its_place(cast: Cast) -> None:
    cast.plan.account_limit = 2
    cast.plan.save(update_fields=["account_limit"])
    account = factories.make_account(cast.com, "one")
    factories.settle()
    account.delete_later()
    assert refusal(cast.com, "two").code == "full"
    factories.settle()
    factories.make_account(cast.com, "two")


def test_never_seen_account_that_is_deleted_goes_at_once(com: Domain) -> None:
    account = factories.make_account(com, "info")
    account.delete_later()
    assert not Account.objects.filter(name="info").exists()
    assert not Change.objects.open().exists()


def test_deleted_account_goes_once_the_server_has_confirmed(tanaka: Account) -> None:
    tanaka.delete_later()
    assert Account.objects.filter(pk=tanaka.pk).exists()
    factories.settle()
    assert not Account.objects.filter(pk=tanaka.pk).exists()


def test_password_cannot_be_changed_while_the_account_is_being_deleted(tanaka: Account) -> None:
    tanaka.delete_later()
    with pytest.raises(ValidationError) as refused:
        tanaka.set_password("another-long-word")
    assert refused.value.code == "leaving"


def test_size_of_a_mailbox_is_the_plans_unless_it_has_its_own(tanaka: Account) -> None:
    assert tanaka.size == 10 * 1024 * 1024
    tanaka.limit(quota_bytes=5)
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["quota_bytes"] == 5
    tanaka.limit(quota_bytes=None)
    assert not Change.objects.pending().exists()


def test_size_is_left_alone_by_a_change_of_password_at_the_same_time(tanaka: Account) -> None:
    stale = Account.objects.get(pk=tanaka.pk)
    tanaka.limit(quota_bytes=5)
    stale.set_password("another-long-word")
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["quota_bytes"] == 5


def test_cancelled_size_returns_to_what_is_live(tanaka: Account) -> None:
    tanaka.limit(quota_bytes=5)
    cancel([factories.pending(tanaka.key)])
    tanaka.refresh_from_db()
    assert tanaka.size == 10 * 1024 * 1024


# Proposals.


def test_free_name_is_proposed_as_the_manual_does(com: Domain) -> None:
    assert Account.objects.free_name(com.server_id, "info") == "myinfo"


def test_proposed_name_is_free_and_allowed(com: Domain, other: Domain) -> None:
    for name in ("myinfo", "info.mail", "info2"):
        factories.make_account(other, name)
    assert Account.objects.free_name(com.server_id, "info") == "info3"
    assert Account.objects.free_name(com.server_id, "info", avoid={"info3"}) == "info4"


@pytest.mark.parametrize("wanted", ["x" * 32, "postmaster", "a+b", "a.", "..", ""])
def test_proposal_for_an_odd_name_is_still_a_name(com: Domain, wanted: str) -> None:
    proposed = Account.objects.free_name(com.server_id, wanted)
    assert factories.make_account(com, proposed).name == proposed
