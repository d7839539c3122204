"""Taking changes back: the object returns to what the server holds."""

import pytest
from django.core.exceptions import ValidationError

from accounts import passwords
from accounts.models import Account, Domain
from forwarding import assistant, removal
from forwarding.models import DetachedDestination, ForwardingAddress
from propagation.cancel import cancel, group_of, with_dependents
from propagation.models import Change, ChangeState, TooLate
from tests import factories
from tests.conftest import Cast


def take_back(key: str) -> list[str]:
    """Cancel a record's pending change as the page does; return the keys of all that went."""
    group = group_of(factories.pending(key).group)
    return sorted(change.key for change in cancel(group))


def test_new_account_that_is_taken_back_never_was(com: Domain) -> None:
    account = factories.make_account(com, "info")
    assert take_back(account.key) == [account.key]
    assert not Account.objects.filter(name="info").exists()
    factories.make_account(com, "info")


def test_password_that_is_taken_back_is_the_old_one_again(tanaka: Account) -> None:
    tanaka.set_password("another-long-word")
    tanaka.set_password("yet-another-word")
    take_back(tanaka.key)
    tanaka.refresh_from_db()
    assert passwords.verify(factories.PASSWORD, tanaka.password_hash)


def test_deletion_that_is_taken_back_leaves_the_account(tanaka: Account) -> None:
    tanaka.delete_later()
    take_back(tanaka.key)
    tanaka.refresh_from_db()
    tanaka.set_password("another-long-word")


def test_deletion_of_an_account_with_a_waiting_password_returns_to_the_live_one(
    tanaka: Account,
) -> None:
    tanaka.set_password("another-long-word")
    tanaka.delete_later()
    take_back(tanaka.key)
    tanaka.refresh_from_db()
    assert passwords.verify(factories.PASSWORD, tanaka.password_hash)


def test_new_forward_that_is_taken_back_never_was(com: Domain) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    take_back(row.key)
    assert not ForwardingAddress.objects.filter(pk=row.pk).exists()


def test_changed_forward_that_is_taken_back_leads_where_it_did(com: Domain) -> None:
    row = factories.make_forward(com, "info", "x@example.org", "Y@example.org")
    factories.settle()
    row.lead(["z@example.org"])
    take_back(row.key)
    assert ForwardingAddress.objects.get(pk=row.pk).leads_to() == ["x@example.org", "Y@example.org"]


def test_withdrawn_forward_that_is_taken_back_stays(com: Domain) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    row.withdraw()
    take_back(row.key)
    row = ForwardingAddress.objects.get(pk=row.pk)
    assert not row.is_leaving()
    assert row.leads_to() == ["x@example.org"]


def test_account_is_taken_back_with_what_leads_to_it(com: Domain) -> None:
    account = factories.make_account(com, "box")
    factories.make_forward(com, "b", account.address)
    factories.make_forward(com, "a", "b@example.com")
    assert take_back(account.key) == [
        "address:a@example.com",
        "address:b@example.com",
        "mailbox:box",
    ]
    assert not ForwardingAddress.objects.exists()
    assert not Account.objects.filter(name="box").exists()


def test_other_pending_changes_stay(com: Domain) -> None:
    account = factories.make_account(com, "box")
    factories.make_account(com, "other")
    factories.make_forward(com, "info", "x@example.org")
    take_back(account.key)
    assert Change.objects.pending().count() == 2


def test_forward_that_is_taken_back_leaves_its_mailbox(com: Domain) -> None:
    account = factories.make_account(com, "box")
    factories.make_forward(com, "info", account.address)
    assert take_back("address:info@example.com") == ["address:info@example.com"]
    assert factories.state_of(account.key) == "pending"


def test_assistants_pair_is_taken_back_together(com: Domain) -> None:
    assistant.open_under(domain=com, wanted="info", name="myinfo", password=factories.PASSWORD)
    assert take_back("address:info@example.com") == ["address:info@example.com", "mailbox:myinfo"]


def test_deletion_is_taken_back_with_its_forwards(com: Domain, tanaka: Account) -> None:
    only = factories.make_forward(com, "only", tanaka.address)
    both = factories.make_forward(com, "both", tanaka.address, "x@example.org")
    factories.settle()
    removal.delete_account(tanaka)
    take_back(tanaka.key)
    for row, leads_to in ((only, [tanaka.address]), (both, [tanaka.address, "x@example.org"])):
        assert ForwardingAddress.objects.get(pk=row.pk).leads_to() == leads_to
        assert not row.is_leaving()


def test_forwards_of_a_deletion_taken_back_do_not_come_back_later(
    com: Domain, tanaka: Account
) -> None:
    row = factories.make_forward(com, "info", tanaka.address, "x@example.org")
    factories.settle()
    removal.delete_account(tanaka)
    take_back(tanaka.key)
    row.lead(["x@example.org"])
    factories.settle()
    removal.delete_account(tanaka)
    assert not DetachedDestination.objects.exists()


def test_applied_change_is_too_late(tanaka: Account) -> None:
    change = Change.objects.get(key=tanaka.key)
    with pytest.raises(TooLate):
        cancel([change])


def test_one_change_on_its_way_keeps_the_whole_group(com: Domain) -> None:
    assistant.open_under(domain=com, wanted="info", name="myinfo", password=factories.PASSWORD)
    together = group_of(factories.pending("mailbox:myinfo").group)
    factories.come_due()
    Change.objects.claim_due(com.server)
    with pytest.raises(TooLate):
        cancel(together)
    assert factories.state_of("address:info@example.com") == ChangeState.PENDING
    assert ForwardingAddress.objects.filter(local_part="info").exists()


def test_taking_back_is_refused_where_it_would_close_a_circle(com: Domain) -> None:
    a = factories.make_forward(com, "a", "b@example.com")
    factories.settle()
    a.lead(["x@example.org"])
    factories.make_forward(com, "b", "a@example.com")
    with pytest.raises(ValidationError) as refused:
        take_back(a.key)
    assert refused.value.code == "loop"
    a = ForwardingAddress.objects.get(pk=a.pk)
    assert a.leads_to() == ["x@example.org"]
    assert factories.state_of(a.key) == "pending"


def test_secrets_of_a_cancelled_change_are_forgotten(tanaka: Account) -> None:
    tanaka.set_password("another-long-word")
    take_back(tanaka.key)
    change = Change.objects.filter(key=tanaka.key).order_by("-pk")[0]
    assert (change.before_secret, change.after_secret) == ("", "")


def test_dependents_are_found_at_any_depth_and_once(com: Domain) -> None:
    account = factories.make_account(com, "box")
    for number in range(5):
        before = f"a{number - 1}@example.com" if number else account.address
        factories.make_forward(com, f"a{number}", before, account.address)
    found = with_dependents([factories.pending(account.key)])
    assert len(found) == len({change.pk for change in found}) == 6


@pytest.mark.parametrize("key", ["domain:new.example", "mailbox:new"])
def test_opening_of_a_domain_cannot_be_taken_back(cast: Cast, key: str) -> None:
    factories.make_domain("new.example", customer=cast.sakura, plan=cast.plan, server=cast.server)
    with pytest.raises(ValidationError):
        cancel([factories.pending(key)])
    assert Domain.objects.filter(name="new.example").exists()
    assert Account.objects.filter(name="new").exists()
    assert factories.state_of(key) == "pending"
