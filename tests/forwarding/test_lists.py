"""Mailing lists: what they are, what else may have their names, and who stays out of them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.utils import translation
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Account, Domain
from forwarding import assistant, pages, removal, routes
from forwarding.models import ForwardingAddress, MailingList, Member
from forwarding.sources import MailingListSource
from mailhost.lists.leaving import token
from propagation.cancel import cancel
from propagation.models import Change, ChangeState
from propagation.sources import source_of
from tests import factories
from tests.conftest import Cast
from tests.races import at_once, meeting

KEY = "list:club@example.com"


def refusal(action: Any, *args: Any, **kwargs: Any) -> ValidationError:
    """Return why something may not be done."""
    with translation.override("en"), pytest.raises(ValidationError) as refused:
        action(*args, **kwargs)
    return refused.value


def live(domain: Domain, *members: str, **settings: Any) -> MailingList:
    """Return a list that its server has."""
    row = factories.make_list(domain, "club", *members, **settings)
    factories.settle()
    return row


def numbers(count: int, word: str = "m") -> list[str]:
    """Return addresses elsewhere."""
    return [f"{word}{number}@outside.example" for number in range(count)]


# What the server is told.


def test_record_names_all_that_the_server_needs(com: Domain, settings: Settings) -> None:
    settings.PANEL_URL = "https://panel.plusmail.test"
    row = factories.make_list(com, "Club", "b@outside.example", "Ann@Outside.example")
    record = row.record()
    assert record
    assert record.key == KEY
    assert record.members == ("Ann@outside.example", "b@outside.example")
    assert record.leave_url == f"https://panel.plusmail.test/leave/{row.pk}"
    assert row.member_of(token(record.leave_key, "b@outside.example")) == "b@outside.example"
    change = factories.pending(KEY)
    assert change.entry().record == record
    assert record.leave_key not in str(change.after)


def test_key_of_the_links_is_forgotten_with_the_change(com: Domain) -> None:
    row = live(com)
    change = Change.objects.get(key=KEY)
    assert change.state == ChangeState.APPLIED
    assert row.leave_key not in str(vars(change))


def test_every_edit_is_one_change_that_replaces_the_one_before(com: Domain) -> None:
    row = factories.make_list(com, "club", "a@outside.example")
    row.add(["b@outside.example"])
    row.change(title="会員の皆さま", owner_address="Tanaka@Example.com", posters="owner")
    assert Change.objects.open().filter(key=KEY).count() == 1
    after = factories.pending(KEY).after
    assert after
    assert (after["title"], after["owner_address"]) == ("会員の皆さま", "tanaka@example.com")
    assert after["members"] == ["a@outside.example", "b@outside.example"]


def test_list_waits_for_what_its_members_are(com: Domain) -> None:
    factories.make_account(com, "tanaka")
    factories.make_list(com, "team", "tanaka@example.com")
    factories.make_list(com, "club", "team@example.com")
    keys = factories.settle()
    assert keys == ["mailbox:tanaka", "list:team@example.com", KEY]


def test_rebuilt_server_gets_its_lists(cast: Cast) -> None:
    row = live(cast.com, "a@outside.example")
    factories.make_list(cast.com, "gone").withdraw()
    assert list(MailingListSource().records(cast.server)) == [row.record()]
    row.withdraw()
    assert list(MailingListSource().records(cast.server)) == []
    assert MailingListSource().record(cast.server, KEY) is None


@pytest.mark.parametrize("url", ["", "panel.example.jp", "https://panel.example.jp/?x=1"])
def test_panel_does_not_start_with_an_address_that_no_link_can_have(
    settings: Settings, url: str
) -> None:
    settings.PANEL_URL = url
    with pytest.raises(SystemCheckError, match=r"forwarding\.E001"):
        call_command("check")


# What may be said of it.


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("title", {"title": ""}),
        ("title", {"title": "x" * 101}),
        ("title", {"title": "Club\r\nBcc: all@example.org"}),
        ("title", {"title": "Club\u2028x"}),
        ("owner_address", {"owner_address": "owner"}),
        ("owner_address", {"owner_address": "a@example.org\nBcc: b@example.org"}),
        ("posters", {"posters": "everybody"}),
    ],
)
def test_wrong_setting_is_refused_at_its_field(
    com: Domain, field: str, values: dict[str, str]
) -> None:
    error = refusal(factories.make_list, com, "club", **values)
    assert list(error.error_dict) == [field]
    row = factories.make_list(com, "club")
    usual = {"title": "x", "owner_address": "x@example.org", "posters": "owner"}
    assert list(refusal(row.change, **usual | values).error_dict) == [field]
    assert MailingList.objects.get().title == "The Club"


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "クラブ", "x" * 57, "a@b", ".a"])
def test_wrong_name_is_refused(com: Domain, name: str) -> None:
    assert list(refusal(factories.make_list, com, name).error_dict) == ["local_part"]
    assert not MailingList.objects.exists()


def test_longest_name_leaves_room_for_the_address_of_bounces(com: Domain) -> None:
    record = factories.make_list(com, "x" * 56).record()
    assert record
    assert len(record.bounce_address.partition("@")[0]) == 64


# Names.


@pytest.mark.parametrize("name", ["club", "club-bounces"])
def test_nothing_else_can_have_a_lists_names(com: Domain, name: str) -> None:
    factories.make_list(com, "club")
    error = refusal(factories.make_account, com, name)
    assert "club@example.com" in error.messages[0] or "club-bounces" in error.messages[0]
    assert list(error.error_dict) == ["name"]
    assert refusal(factories.make_forward, com, name, "x@outside.example").code == "list"
    assert refusal(factories.make_list, com, name).code == "list"
    assert not assistant.may_offer(com, name)
    assert not ForwardingAddress.objects.exists()


@pytest.mark.parametrize("name", ["club", "club-bounces"])
def test_list_cannot_have_anothers_name(com: Domain, name: str) -> None:
    account = factories.make_account(com, name)
    assert "is a mailbox" in refusal(factories.make_list, com, "club").messages[0]
    removal.delete_account(account)
    factories.make_forward(com, name, "x@outside.example")
    assert "is a forwarding address" in refusal(factories.make_list, com, "club").messages[0]


def test_list_cannot_be_named_so_that_another_lists_bounces_come_to_it(com: Domain) -> None:
    factories.make_list(com, "club-bounces")
    assert refusal(factories.make_list, com, "club").code == "list"
    factories.make_list(com, "club2")


@pytest.mark.parametrize("name", ["example", "postmaster", "abuse"])
def test_fixed_names_are_no_lists(com: Domain, net: Domain, name: str) -> None:
    assert refusal(factories.make_list, com, name).code in {"fixed", "taken"}
    assert refusal(factories.make_list, net, name).code == "fixed"


def test_same_name_in_another_domain_is_free(com: Domain, net: Domain, other: Domain) -> None:
    for domain in (com, net, other):
        factories.make_list(domain, "club")


def test_deleted_name_is_taken_until_it_is_gone(com: Domain) -> None:
    account, forward = (
        factories.make_account(com, "club"),
        factories.make_forward(com, "team", "x@outside.example"),
    )
    factories.settle()
    removal.delete_account(account)
    forward.withdraw()
    for name in ("club", "team"):
        assert refusal(factories.make_list, com, name).code == "taken"
    factories.settle()
    row = factories.make_list(com, "club")
    factories.settle()
    row.withdraw()
    refused = refusal(factories.make_forward, com, "club", "x@outside.example")
    assert "still being deleted" in refused.messages[0]
    factories.settle()
    assert not MailingList.objects.exists()
    factories.make_forward(com, "club", "x@outside.example")


def test_deleted_account_cannot_come_back_where_a_list_is(com: Domain) -> None:
    account = factories.make_account(com, "club")
    factories.settle()
    removal.delete_account(account)
    factories.settle()
    factories.make_list(com, "club")
    deleted = com.deleted_accounts.get()
    assert "is a mailing list" in refusal(removal.restore_account, deleted).messages[0]
    removal.restore_account(deleted, name="kurabu")


def test_assistant_offers_no_name_of_a_list(cast: Cast) -> None:
    factories.make_account(cast.other, "info")
    factories.make_list(cast.com, "myinfo")
    assert assistant.propose_name(cast.com, "info") != "myinfo"


@pytest.mark.django_db(transaction=True)
def test_of_an_account_and_a_list_made_at_once_one_gets_the_name(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, routes, "check")
    answers = at_once(
        partial(factories.make_account, cast.com, "club"),
        partial(factories.make_list, cast.com, "club"),
    )
    assert sum(isinstance(answer, ValidationError) for answer in answers) == 1, answers
    assert Account.objects.filter(name="club").count() + MailingList.objects.count() == 1


# Members.


def test_member_is_there_once_whatever_the_case(com: Domain) -> None:
    row = factories.make_list(com, "club", "Ann@outside.example")
    assert row.add(["ann@OUTSIDE.example", "bob@outside.example"]) == 1
    assert row.addresses() == ["Ann@outside.example", "bob@outside.example"]
    assert row.add(["bob@outside.example"]) == 0


def test_thousand_members_and_not_one_more(com: Domain) -> None:
    row = factories.make_list(com, "club", *numbers(1000))
    factories.make_forward(com, "info", "club@example.com")
    assert refusal(row.add, ["one@outside.example"]).messages == [
        "A list has at most 1,000 members; with these it would have 1,001."
    ]
    assert len(row.addresses()) == 1000
    ids = list(row.members.values_list("pk", flat=True)[:2])
    assert row.remove(ids) == 2
    assert row.add(["one@outside.example", "two@outside.example"]) == 2


def test_members_of_another_list_are_not_removed(com: Domain, other: Domain) -> None:
    row = factories.make_list(com, "club", "a@outside.example")
    foreign = factories.make_list(other, "club", "a@outside.example")
    assert row.remove(foreign.members.values_list("pk", flat=True)) == 0
    assert foreign.addresses() == ["a@outside.example"]


def test_list_that_is_being_deleted_is_not_edited(com: Domain) -> None:
    row = live(com, "a@outside.example")
    row.withdraw()
    assert refusal(row.add, ["b@outside.example"]).code == "leaving"
    assert refusal(row.remove, [1]).code == "leaving"
    factories.settle()
    assert refusal(row.add, ["b@outside.example"]).code == "gone"


def test_list_made_again_while_it_goes_begins_without_members(com: Domain) -> None:
    live(com, "a@outside.example").withdraw()
    row = factories.make_list(com, "club", title="Another")
    assert row.addresses() == []
    factories.settle()
    assert MailingList.objects.get().title == "Another"


def test_list_that_the_server_never_had_goes_at_once(com: Domain) -> None:
    factories.make_list(com, "club", "a@outside.example").withdraw()
    assert not MailingList.objects.exists()
    assert not Change.objects.open().filter(key=KEY).exists()


# Taking back.


def test_taken_back_list_never_was(com: Domain) -> None:
    factories.make_list(com, "club", "a@outside.example")
    cancel([factories.pending(KEY)])
    assert not MailingList.objects.exists()


def test_taken_back_edit_leaves_the_list_as_the_server_has_it(com: Domain) -> None:
    row = live(com, "A@outside.example", "b@outside.example")
    before = row.record()
    row.change(title="New", owner_address="new@outside.example", posters="anyone")
    row.remove(row.members.values_list("pk", flat=True))
    row.add(["a@outside.example", "c@outside.example"])
    cancel([factories.pending(KEY)])
    assert MailingList.objects.get().record() == before
    assert not Change.objects.open().exists()


def test_taken_back_deletion_leaves_the_members(com: Domain) -> None:
    row = live(com, "a@outside.example")
    row.withdraw()
    cancel([factories.pending(KEY)])
    assert MailingList.objects.get().addresses() == ["a@outside.example"]


# Leaving.


def test_who_leaves_is_out_with_the_next_change(com: Domain) -> None:
    row = live(com, "Ann@outside.example", "bob@outside.example")
    row.leave("ann@outside.example")
    row.leave("ann@outside.example")
    row.leave("nobody@outside.example")
    assert row.addresses() == ["bob@outside.example"]
    assert Change.objects.filter(key=KEY).count() == 2
    change = factories.pending(KEY)
    assert change.made_by is None
    factories.settle()
    assert list(Member.objects.values_list("address", flat=True)) == ["bob@outside.example"]


def test_many_who_leave_keep_nothing_waiting(com: Domain) -> None:
    row = live(com, *numbers(5))
    row.add(["new@outside.example"])
    soon = now() + timedelta(minutes=2)
    Change.objects.pending().update(due_at=soon)
    for address in numbers(3):
        row.leave(address)
    assert abs(factories.pending(KEY).due_at - soon) < timedelta(seconds=2)


def test_who_leaves_undoes_no_edit_made_meanwhile(com: Domain) -> None:
    row = live(com, "ann@outside.example")
    opened = MailingList.objects.select_related("domain__server").get()
    row.change(title="New", owner_address="x@outside.example", posters="owner")
    opened.leave("ann@outside.example")
    after = factories.pending(KEY).after
    assert after
    assert (after["title"], after["members"]) == ("New", [])
    row.withdraw()
    factories.settle()
    opened.leave("ann@outside.example")
    assert not MailingList.objects.exists()


def test_taking_back_brings_back_nobody_who_left(com: Domain) -> None:
    row = live(com, "ann@outside.example", "bob@outside.example")
    row.add(["carol@outside.example"])
    row.leave("ann@outside.example")
    cancel([factories.pending(KEY)])
    row = MailingList.objects.get()
    assert row.addresses() == ["bob@outside.example"]
    after = factories.pending(KEY).after
    assert after
    assert after["members"] == ["bob@outside.example"]
    factories.settle()
    assert Member.objects.count() == 1


def test_leaving_alone_cannot_be_taken_back(com: Domain) -> None:
    row = live(com, "ann@outside.example", "bob@outside.example")
    row.leave("ann@outside.example")
    assert refusal(cancel, [factories.pending(KEY)]).code == "left"
    assert row.addresses() == ["bob@outside.example"]


def test_who_leaves_while_the_list_goes_stays_out_when_it_does_not(com: Domain) -> None:
    row = live(com, "ann@outside.example", "bob@outside.example")
    row.withdraw()
    row.leave("ann@outside.example")
    cancel([factories.pending(KEY)])
    assert row.addresses() == ["bob@outside.example"]
    factories.settle()
    assert factories.state_of(KEY) == ChangeState.APPLIED
    assert Member.objects.count() == 1


def test_who_left_can_be_added_again(com: Domain) -> None:
    row = live(com, "ann@outside.example")
    row.leave("ann@outside.example")
    assert row.add(["ann@outside.example"]) == 1
    assert not Change.objects.open().exists()
    assert row.addresses() == ["ann@outside.example"]


# Where it leads.


def test_circle_through_a_list_is_refused_and_shown(com: Domain) -> None:
    factories.make_forward(com, "info", "club@example.com")
    error = refusal(factories.make_list, com, "club", "info@example.com")
    assert error.messages == [
        "Mail would go round in a circle: club@example.com → info@example.com → club@example.com."
    ]
    row = factories.make_list(com, "club", "a@outside.example")
    assert refusal(row.add, ["info@example.com"]).code == "loop"
    assert refusal(row.add, ["Club@example.com"]).code == "loop"
    assert row.addresses() == ["a@outside.example"]


def test_lists_that_are_members_of_each_other_are_refused(com: Domain, other: Domain) -> None:
    row = factories.make_list(com, "club")
    factories.make_list(other, "team", "club@example.com")
    assert refusal(row.add, ["team@wakaba.example"]).messages == [
        "team@wakaba.example leads back to this address."
    ]


def test_forward_to_a_list_that_leads_to_it_is_refused(com: Domain) -> None:
    factories.make_list(com, "club", "info@example.com")
    assert refusal(factories.make_forward, com, "info", "club@example.com").code == "loop"


def test_catch_all_closes_no_circle_through_a_list(com: Domain) -> None:
    factories.make_list(com, "club", "nobody@example.com")
    assert refusal(factories.make_forward, com, "", "club@example.com").code == "loop"


def test_member_that_left_closes_no_circle(com: Domain) -> None:
    row = live(com, "info@example.com")
    row.leave("info@example.com")
    factories.make_forward(com, "info", "club@example.com")


def test_list_is_one_step_of_ten(com: Domain) -> None:
    factories.make_list(com, "club", "end@outside.example")
    for number in range(1, 10):
        to = f"s{number - 1}" if number > 1 else "club"
        factories.make_forward(com, f"s{number}", f"{to}@example.com")
    assert refusal(factories.make_list, com, "over", "s9@example.com").code == "deep"


def test_lists_in_a_row_make_at_most_a_thousand_copies(com: Domain) -> None:
    factories.make_list(com, "one", *numbers(600, "one"))
    two = factories.make_list(com, "two", *numbers(400, "two"))
    factories.make_list(com, "club", "one@example.com", "two@example.com")
    assert refusal(two.add, ["more@outside.example"]).code == "wide"


@pytest.mark.long
def test_forward_that_is_a_member_of_full_lists_can_be_led_elsewhere(com: Domain) -> None:
    row = factories.make_forward(com, "info", "x@outside.example")
    for number in range(5):
        factories.make_list(com, f"l{number}", "info@example.com", *numbers(900, f"l{number}-"))
    row.lead(["y@outside.example"])


def test_list_is_something_that_exists(com: Domain) -> None:
    factories.make_list(com, "club")
    found = pages.dead_ends(
        ["club@example.com", "club-bounces@example.com", "team-bounces@example.com"]
    )
    assert found == {"team-bounces@example.com"}


def test_postmaster_does_not_lead_to_a_list_alone(com: Domain) -> None:
    factories.make_list(com, "club", "a@outside.example")
    error = refusal(factories.make_forward, com, "postmaster", "club@example.com")
    assert "must arrive in a mailbox as well" in error.messages[0]
    factories.make_forward(com, "abuse", "club@example.com", "x@outside.example")


# In words.


def test_changes_of_a_list_read_in_words(com: Domain) -> None:
    row = factories.make_list(com, "club", "a@outside.example")
    said = []
    with translation.override("en"):
        said.append(source_of(KEY).describe(factories.pending(KEY)))
        factories.settle()
        row.add(["b@outside.example", "c@outside.example"])
        row.leave("a@outside.example")
        row.change(title="New", owner_address="x@outside.example", posters="owner")
        said.append(source_of(KEY).describe(factories.pending(KEY)))
        row.withdraw()
        said.append(source_of(KEY).describe(factories.pending(KEY)))
    assert said == [
        "Make the mailing list club@example.com",
        "Mailing list club@example.com: 2 new members, 1 member leaves, other settings",
        "Delete the mailing list club@example.com",
    ]
