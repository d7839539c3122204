"""The pages of mailing lists, as a customer sees them."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Domain
from forwarding.models import MailingList
from propagation.models import Change
from tests import factories
from tests.conftest import Cast

PAGE = "/domains/example.com/forwarding/lists/"
FORM = {
    "local_part": "Club",
    "title": "会員の皆さま",
    "owner_address": "owner@outside.example",
    "posters": "members",
}


@pytest.fixture
def club(com: Domain) -> MailingList:
    """A live list of two members."""
    row = factories.make_list(com, "club", "ann@outside.example", "bob@outside.example")
    factories.settle()
    return row


def page(row: MailingList, rest: str = "") -> str:
    """Return the address of a list's page."""
    return f"{PAGE}{row.pk}/{rest}"


def test_list_is_made_and_leads_to_its_members(sakura: Client) -> None:
    response = sakura.post(PAGE, FORM, follow=True)
    row = MailingList.objects.get()
    assert (row.local_part, row.title, row.posters) == ("club", "会員の皆さま", "members")
    assert response.redirect_chain == [(page(row), 302)]
    assert "club@example.com will work from about" in response.text
    assert "There is no member yet" in response.text
    assert Change.objects.pending().get(key="list:club@example.com").made_by is not None


def test_members_of_a_new_list_are_not_lost_by_one_press(sakura: Client, com: Domain) -> None:
    row = factories.make_list(com, "club", "ann@outside.example", "bob@outside.example")
    text = sakura.get(page(row)).text
    assert "They are told nothing." in text
    assert "you can take it back" not in text
    path = f"/domains/example.com/changes/{factories.pending(row.key).pk}/cancel/"
    text = sakura.post(path).text
    assert "the addresses of its 2 members are lost" in text
    assert "belong together" not in text
    assert MailingList.objects.exists()
    sakura.post(path, {"sure": "1"})
    assert not MailingList.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("local_part", "no good"),
        ("local_part", "x" * 60),
        ("local_part", "example"),
        ("local_part", ""),
        ("title", "x" * 101),
        ("title", "a\u2028b"),
        ("owner_address", "nonsense"),
        ("posters", "everybody"),
    ],
)
def test_refused_form_keeps_what_was_typed_and_says_why(
    sakura: Client, field: str, value: str
) -> None:
    response = sakura.post(PAGE, FORM | {field: value})
    assert response.status_code == 422
    assert 'class="error"' in response.text
    for name, typed in (FORM | {field: value}).items():
        if name != "posters":
            assert f'name="{name}" value="{typed}"' in response.text
    assert not MailingList.objects.exists()


def test_all_that_is_wrong_is_said_at_once_each_at_its_field(sakura: Client, com: Domain) -> None:
    factories.make_forward(com, "club", "x@outside.example")
    wrong = {"local_part": "club", "title": "x" * 101, "owner_address": "nonsense"}
    text = sakura.post(PAGE, wrong | {"posters": "everybody"}).text
    for field in ("local_part", "title", "owner_address"):
        assert f'class="error" id="{field}-error"' in text
    assert text.count('class="error"') == 4
    for typed in wrong.values():
        assert f'value="{typed}"' in text
    text = sakura.post(PAGE, wrong | {"local_part": "", "posters": "members"}).text
    assert text.count('class="error"') == 3


def test_all_that_is_wrong_with_settings_is_said_at_once(sakura: Client, club: MailingList) -> None:
    text = sakura.post(page(club, "settings/"), {"title": "", "owner_address": "nonsense"}).text
    assert text.count('class="error"') == 3


def test_taken_name_is_said_next_to_it(sakura: Client, com: Domain) -> None:
    factories.make_forward(com, "club", "x@outside.example")
    text = sakura.post(PAGE, FORM).text
    error = text.partition('id="local_part-error"')[2].partition("</p>")[0]
    assert "is a forwarding address" in error


def test_account_with_a_lists_name_is_refused_next_to_the_name(
    sakura: Client, club: MailingList
) -> None:
    form = {"name": "club", "password": factories.PASSWORD}
    text = sakura.post("/domains/example.com/users/", form).text
    assert "club@example.com is a mailing list. Choose another name." in text
    assert not Account.objects.filter(name="club").exists()


def test_lists_show_members_and_state(sakura: Client, club: MailingList) -> None:
    club.add(["carol@outside.example"])
    text = sakura.get(PAGE).text
    assert "The Club" in text
    assert re.search(r'class="number">3</span>', text)
    assert "Waiting to be changed" in text
    assert "Its members and the owner" in text
    assert "leave_key" not in text
    assert club.leave_key not in text


def test_list_takes_the_same_queries_at_any_number_of_lists(sakura: Client, com: Domain) -> None:
    counts = []
    for number in range(6):
        factories.make_list(com, f"l{number}", "ann@outside.example")
        if number in (1, 5):
            with CaptureQueriesContext(connection) as queries:
                sakura.get(PAGE)
            counts.append(len(queries))
    assert counts[0] == counts[1]


# Members.


def test_pasted_members_are_added_and_counted(sakura: Client, club: MailingList) -> None:
    text = "Ann <ann@outside.example>; carol@outside.example\n山田 <dave@outside.example>"
    response = sakura.post(page(club), {"members": text}, follow=True)
    assert "2 new members get the list&#x27;s mail" in response.text
    assert "1 was a member already." in response.text
    assert len(club.addresses()) == 4
    assert response.text.count("Waiting to be added") == 2


def test_wrong_line_is_named_and_nothing_typed_is_lost(sakura: Client, club: MailingList) -> None:
    typed = "carol@outside.example\nnonsense\ndave@outside.example"
    response = sakura.post(page(club), {"members": typed})
    assert response.status_code == 422
    assert "Line 2:" in response.text
    assert typed in response.text
    assert "Add the 2 addresses that are right" in response.text
    assert len(club.addresses()) == 2


def test_right_ones_are_added_and_the_wrong_ones_stay_in_the_box(
    sakura: Client, club: MailingList
) -> None:
    typed = "carol@outside.example\nnonsense\ndave@outside.example"
    response = sakura.post(page(club), {"members": typed, "right_only": "1"})
    assert "2 new members" in response.text
    assert ">nonsense</textarea>" in response.text
    assert "Line 1:" in response.text
    assert len(club.addresses()) == 4


def test_too_many_members_are_refused_with_the_text_kept(sakura: Client, club: MailingList) -> None:
    typed = "\n".join(f"m{number}@outside.example" for number in range(1000))
    response = sakura.post(page(club), {"members": typed})
    assert response.status_code == 422
    assert "with these it would have 1,002" in response.text
    assert "m999@outside.example" in response.text
    assert len(club.addresses()) == 2


def test_circle_is_shown_next_to_the_members(
    sakura: Client, com: Domain, club: MailingList
) -> None:
    factories.make_forward(com, "info", "club@example.com")
    response = sakura.post(page(club), {"members": "info@example.com"})
    assert "club@example.com → info@example.com → club@example.com" in response.text


def test_one_or_the_ticked_members_are_removed(sakura: Client, club: MailingList) -> None:
    club.add(["carol@outside.example"])
    ids = {row.address.partition("@")[0]: row.pk for row in club.members.all()}
    sakura.post(page(club), {"one": ids["ann"], "member": [ids["bob"]]})
    assert club.addresses() == ["bob@outside.example", "carol@outside.example"]
    response = sakura.post(page(club), {"member": [ids["bob"], ids["carol"]]}, follow=True)
    assert club.addresses() == []
    assert "2 members get no more mail" in response.text


@pytest.mark.parametrize("sent", [{}, {"one": "x"}, {"member": ["999999999999999999999"]}])
def test_nobody_chosen_is_nobody_removed(
    sakura: Client, club: MailingList, sent: dict[str, str]
) -> None:
    response = sakura.post(page(club), sent, follow=True)
    assert "No member was chosen." in response.text
    assert len(club.addresses()) == 2


def test_members_are_searched_and_paged(sakura: Client, com: Domain) -> None:
    names = [f"m{number:03}@outside.example" for number in range(120)]
    row = factories.make_list(com, "club", *names)
    assert "m049@" in sakura.get(page(row)).text
    assert "m050@" not in sakura.get(page(row)).text
    assert "m119@" in sakura.get(page(row), {"page": 3}).text
    found = sakura.get(page(row), {"q": "M07"}).text
    assert "m077@" in found
    assert "m080@" not in found


def test_member_that_gets_no_mail_is_marked(sakura: Client, com: Domain) -> None:
    factories.make_list(com, "closed")
    factories.make_list(com, "open", posters="anyone")
    row = factories.make_list(
        com, "club", "closed@example.com", "open@example.com", "nobody@example.com"
    )
    text = sakura.get(page(row)).text
    assert text.count("does not exist: remove it, and add the right one") == 1
    assert text.count("only its own members may write to it") == 1


# Settings and the end.


def test_settings_are_changed(sakura: Client, club: MailingList) -> None:
    form = {"title": "New", "owner_address": "New@example.com", "posters": "owner"}
    response = sakura.post(page(club, "settings/"), form, follow=True)
    assert "The settings of club@example.com count from about" in response.text
    club.refresh_from_db()
    assert (club.title, club.owner_address, club.posters) == ("New", "new@example.com", "owner")


def test_wrong_setting_is_said_next_to_it(sakura: Client, club: MailingList) -> None:
    form = {"title": "x" * 101, "owner_address": "nonsense", "posters": "owner"}
    response = sakura.post(page(club, "settings/"), form)
    assert response.status_code == 422
    assert 'id="title-error"' in response.text
    assert 'id="owner_address-error"' in response.text


def test_confirmation_says_what_is_lost(sakura: Client, club: MailingList) -> None:
    text = sakura.get(page(club, "delete/")).text
    assert "The addresses of its 2 members are lost." in text
    assert "ann@outside.example\nbob@outside.example" in text
    response = sakura.post(page(club, "delete/"), follow=True)
    assert "will be deleted at about" in response.text
    assert club.is_leaving()
    assert "Waiting to be deleted" in sakura.get(page(club)).text
    assert "Add members" not in sakura.get(page(club)).text


def test_edit_of_a_list_that_goes_is_refused_in_words(sakura: Client, club: MailingList) -> None:
    club.withdraw()
    response = sakura.post(page(club), {"members": "carol@outside.example"})
    assert "Take the deletion back first." in response.text
    assert "carol@outside.example" in response.text
    response = sakura.post(page(club), {"one": club.members.first().pk}, follow=True)  # type: ignore[union-attr]
    assert "Take the deletion back first." in response.text


def test_owner_takes_an_edit_back(sakura: Client, club: MailingList) -> None:
    club.add(["carol@outside.example"])
    change = factories.pending("list:club@example.com")
    sakura.post(f"/domains/example.com/changes/{change.pk}/cancel/", follow=True)
    assert len(club.addresses()) == 2


def test_title_is_shown_as_text(sakura: Client, cast: Cast) -> None:
    row = factories.make_list(cast.com, "club", title="<script>alert(1)</script>")
    for path in (PAGE, page(row), page(row, "delete/"), page(row, "settings/")):
        assert "<script>alert" not in sakura.get(path).text


def test_pasted_members_outlive_a_login_that_ended(
    stranger: Client, cast: Cast, club: MailingList
) -> None:
    stranger.post(page(club), {"members": "carol@outside.example"})
    stranger.force_login(cast.sakura.user, "django.contrib.auth.backends.ModelBackend")
    assert "carol@outside.example" in stranger.get(page(club)).text


def test_check_before_sending_names_lists_and_whether_they_are_closed(
    sakura: Client, com: Domain, club: MailingList
) -> None:
    factories.make_forward(com, "info", "club@example.com")
    path = f"/domains/example.com/sending/{com.fixed_account_id}/check/"
    form = {"addresses": "Info@example.com, x@outside.example", "unit": "KB"}
    text = sakura.post(path, form).text
    assert "The mailing list club@example.com would refuse it." in text
    assert "Who may write to it: Its members and the owner." in text
    club.add(["example@example.com"])
    text = sakura.post(path, form).text
    assert "Nothing stands in the way of this message." in text
    assert "club@example.com is a mailing list" in text
    text = sakura.post(path, form | {"size": "80", "whole": "on"}).text
    assert "The mailing list would refuse it: about 80 KB" in text
    assert "ann@outside.example" not in text
