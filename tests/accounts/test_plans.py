"""Plans: what the mail servers hear of them."""

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation

from accounts.models import Account, Domain, Plan
from accounts.sources import plans
from mailhost.records import HostedDomain, PlanLimits
from propagation.cancel import cancel, group_of
from propagation.models import Change, MailServer
from tests import factories
from tests.conftest import Cast


def test_new_limit_is_one_change_for_all_accounts(cast: Cast) -> None:
    cast.plan.recipients_per_day = 2000
    cast.plan.save()
    change = Change.objects.pending().get()
    assert change.key == "plan:standard"
    assert isinstance(change.entry().record, PlanLimits)
    assert change.after is not None
    assert change.after["recipients_per_day"] == 2000


def test_larger_mailboxes_are_a_change_of_the_plan(cast: Cast) -> None:
    cast.plan.mailbox_bytes = 50_000_000
    cast.plan.save()
    record = Change.objects.pending().get().entry().record
    assert isinstance(record, PlanLimits)
    assert record.mailbox_bytes == 50_000_000


def test_saving_a_plan_that_stays_as_it_was_is_no_change(cast: Cast) -> None:
    cast.plan.name_en = "Another name"
    cast.plan.save()
    assert not Change.objects.pending().exists()


def test_cancelled_limit_returns_to_what_is_live(cast: Cast) -> None:
    cast.plan.message_bytes = 5_000_000
    cast.plan.save()
    cancel([factories.pending("plan:standard")])
    cast.plan.refresh_from_db()
    assert cast.plan.message_bytes == 3 * 1024 * 1024
    assert not Change.objects.open().exists()


def test_limit_is_taken_back_from_all_servers_or_from_none(cast: Cast) -> None:
    second = factories.make_server("mail2.plusmail.test")
    factories.settle()
    cast.plan.message_bytes = 5_000_000
    cast.plan.save()
    here, there = Change.objects.pending().order_by("server")
    assert here.group == there.group
    factories.settle(second)
    with translation.override("en"), pytest.raises(ValidationError, match="Another mail server"):
        cancel(group_of(here.group))
    cast.plan.refresh_from_db()
    assert cast.plan.message_bytes == 5_000_000
    assert Change.objects.pending().get() == here


def test_code_of_a_plan_stays(cast: Cast) -> None:
    cast.plan.code = "other"
    with pytest.raises(ValidationError):
        cast.plan.save()


def test_new_server_learns_every_plan_and_a_deleted_one_goes_everywhere(cast: Cast) -> None:
    spare = factories.make_plan("spare")
    second = factories.make_server("mail2.plusmail.test")
    assert set(Change.objects.pending().filter(server=second).values_list("key", flat=True)) == {
        "plan:standard",
        "plan:spare",
    }
    factories.settle()
    Plan.objects.filter(pk=spare.pk).delete()
    removals = Change.objects.pending().removals().filter(key="plan:spare")
    assert set(removals.values_list("server", flat=True)) == {cast.server.pk, second.pk}


def test_source_gives_every_plan(server: MailServer) -> None:
    assert [record.key for record in plans.records(server)] == ["plan:standard"]
    assert plans.record(server, "plan:standard") == Plan.objects.get().record()
    assert plans.record(server, "plan:none") is None


def test_record_of_a_domain_says_whose_it_is_and_which_plan_it_has(com: Domain) -> None:
    record = com.record()
    assert isinstance(record, HostedDomain)
    assert (record.owner, record.plan) == (str(com.customer_id), "standard")


def test_accounts_record_leaves_to_the_plan_what_is_not_its_own(tanaka: Account) -> None:
    assert tanaka.record().recipients_per_day == 0
    tanaka.limit(recipients_per_day=2000, pop_before_smtp=False)
    tanaka.refresh_from_db()
    assert tanaka.record().recipients_per_day == 2000
    assert not tanaka.record().pop_before_smtp
    cancel([factories.pending(tanaka.key)])
    tanaka.refresh_from_db()
    assert (tanaka.recipients_per_day, tanaka.pop_before_smtp) == (None, True)
