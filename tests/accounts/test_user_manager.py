"""The User Manager, as a customer sees it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from time_machine import TimeMachineFixture

from accounts.models import Account, Domain, Plan
from mailhost.host import Status
from propagation.models import Change
from tests import factories
from tests.conftest import Cast, logged_in

USERS = "/domains/example.com/users/"
TAKEN = "Error: User exists. Choose another username."


def add(client: Client, name: str, password: str = factories.PASSWORD) -> tuple[int, str]:
    """Send the form; return the status and the page that follows."""
    response = client.post(USERS, {"name": name, "password": password}, follow=True)
    return response.status_code, response.text


def names_on(text: str) -> list[str]:
    """Return the accounts of a page in their order."""
    table = text.partition("<tbody ")[2]
    return re.findall(r'<strong class="address">([^<]+)</strong>', table)


# Adding.


def test_new_account_is_shown_with_its_time(
    sakura: Client, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)
    factories.answer()
    _status, text = add(sakura, "Info")
    assert "info@example.com will work from about 14:32." in text
    assert "Waiting to be added" in text
    assert re.search(r"at about 14:32 \(in 15 minutes\)", text)
    assert Change.objects.pending().get().made_by is not None


def test_time_is_told_in_japanese(cast: Cast, time_machine: TimeMachineFixture) -> None:
    time_machine.move_to("2026-11-25T14:20:00+09:00", tick=False)
    factories.make_account(cast.com, "info")
    time_machine.shift(timedelta(minutes=3))
    factories.answer()
    text = logged_in(cast.sakura.user, "ja").get(USERS).text
    assert re.search(r"14:35", text)
    assert re.search(r"12\s*分", text)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("no good", factories.PASSWORD),
        ("postmaster", factories.PASSWORD),
        ("ｉｎｆｏ", factories.PASSWORD),
        ("wakaba", factories.PASSWORD),
        ("info", "short"),
        ("info", "全角文字のパスワード"),
        ("", factories.PASSWORD),
        ("fine.name", "fine.name"),
    ],
)
def test_refused_form_keeps_what_was_typed(sakura: Client, name: str, password: str) -> None:
    status, text = add(sakura, name, password)
    assert status == 422
    assert f'name="name" value="{name}"' in text
    assert f'value="{password}"' in text
    assert 'class="error"' in text
    assert 'aria-invalid="true"' in text
    assert not Change.objects.pending().exists()


def test_taken_name_is_said_in_exactly_the_manuals_words(sakura: Client) -> None:
    status, text = add(sakura, "wakaba")
    assert status == 422
    assert f">{TAKEN}<" in text
    assert "わかば" not in text
    assert "wakaba.example" not in text


def test_generated_password_is_shown_once_and_nothing_is_saved(sakura: Client) -> None:
    response = sakura.post(USERS, {"name": "info", "password": "", "generate": "1"})
    assert response.status_code == 200
    made = re.search(r'name="password" type="text" value="(\w{16})"', response.text)
    assert made
    assert 'name="name" value="info"' in response.text
    assert not Account.objects.filter(name="info").exists()
    assert made[1] not in sakura.get(USERS).text
    assert add(sakura, "info", made[1])[0] == 200
    assert Account.objects.filter(name="info").exists()


def test_full_plan_says_so_and_offers_no_form(cast: Cast, sakura: Client) -> None:
    cast.plan.account_limit = 1
    cast.plan.save(update_fields=["account_limit"])
    text = sakura.get(USERS).text
    assert "1 of 1 used." in text
    assert "ask us for more" in text
    assert 'id="add-account"' not in text
    status, text = add(sakura, "info")
    assert status == 422
    assert "1 of 1 accounts are in use." in text
    assert 'value="info"' in text


def test_plan_without_self_service_shows_the_list_without_the_buttons(
    cast: Cast, sakura: Client, tanaka: Account
) -> None:
    cast.plan.self_service = False
    cast.plan.save(update_fields=["self_service"])
    text = sakura.get(USERS).text
    assert "tanaka" in names_on(text)
    assert 'id="add-account"' not in text
    assert f"{tanaka.pk}/delete/" not in text
    assert f"{tanaka.pk}/password/" in text
    assert add(sakura, "info")[0] == 403
    assert sakura.post(f"{USERS}{tanaka.pk}/delete/").status_code == 403
    assert sakura.post(f"{USERS}assistant/", {"name": "a", "mailbox": "b"}).status_code == 403
    assert not Change.objects.pending().exists()


# The list.


def test_fixed_account_has_no_way_to_delete_it(cast: Cast, sakura: Client) -> None:
    text = sakura.get(USERS).text
    assert "Fixed account" in text
    assert f"{cast.com.fixed_account_id}/delete/" not in text


def test_state_of_every_row_is_told(com: Domain, sakura: Client) -> None:
    live = factories.make_account(com, "live")
    leaving = factories.make_account(com, "leaving")
    changing = factories.make_account(com, "changing")
    Change.objects.filter(key__in=[live.key, leaving.key, changing.key]).update(
        state="applied", ended_at=now() - timedelta(days=1), before_secret="", after_secret=""
    )
    factories.make_account(com, "failing")
    factories.settle(status=Status.UNCONFIRMED, reason="postmap: fatal: disk full")
    leaving.delete_later()
    changing.set_password("another-long-word")
    factories.make_account(com, "adding")
    text = sakura.get(USERS).text
    rows = {
        name: row
        for row in text.partition("<tbody ")[2].split("<tr ")[1:]
        for name in names_on(f"<tbody {row}")
    }
    assert "In use" in rows["live"]
    assert "applied" not in rows["live"]
    assert "Waiting to be added" in rows["adding"]
    assert "Waiting to be deleted" in rows["leaving"]
    assert "New password waiting" in rows["changing"]
    assert "Not applied yet" in rows["failing"]
    assert "disk full" not in text
    for name in ("adding", "leaving", "changing"):
        assert "Take back" in rows[name]
    for name in ("live", "failing"):
        assert "Take back" not in rows[name]


def test_applied_change_says_when(
    com: Domain, sakura: Client, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T14:33:00+09:00", tick=False)
    factories.make_account(com, "info")
    factories.settle()
    assert "applied 14:33" in sakura.get(USERS).text


def test_row_names_the_addresses_that_lead_to_the_account(
    com: Domain, net: Domain, other: Domain, sakura: Client, tanaka: Account
) -> None:
    factories.make_forward(com, "sales", tanaka.address)
    factories.make_forward(net, "tanaka", tanaka.address)
    factories.make_forward(other, "secret", tanaka.address)
    text = sakura.get(USERS).text
    assert "sales@example.com, tanaka@example.net" in text
    assert "secret" not in text


def test_list_is_searched_sorted_and_cut_into_pages(com: Domain, sakura: Client) -> None:
    factories.make_many_accounts(com, 120)
    first = names_on(sakura.get(USERS).text)
    assert first == ["example", *(f"user{number:05}" for number in range(49))]
    assert names_on(sakura.get(f"{USERS}?page=3").text)[-1] == "user00119"
    assert names_on(sakura.get(f"{USERS}?page=99").text)[-1] == "user00119"
    assert names_on(sakura.get(f"{USERS}?sort=-name").text)[0] == "user00119"
    assert names_on(sakura.get(f"{USERS}?q=r0007").text) == [f"user0007{n}" for n in range(10)]
    assert names_on(sakura.get(f"{USERS}?q=USER00077@example.com").text) == ["user00077"]
    assert names_on(sakura.get(f"{USERS}?q=nobody").text) == []
    assert "121" in sakura.get(f"{USERS}?q=nobody").text


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", "user%"])
def test_search_takes_every_character_for_itself(com: Domain, sakura: Client, text: str) -> None:
    factories.make_many_accounts(com, 3)
    assert names_on(sakura.get(USERS, {"q": text}).text) == []


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1e3", "²"])
def test_odd_page_number_shows_a_page(sakura: Client, page: str) -> None:
    assert sakura.get(USERS, {"page": page}).status_code == 200


def queries_with(cast: Cast, client: Client, number: int) -> int:
    """Return how many queries the page takes at so many accounts, all states among them."""
    factories.make_many_accounts(cast.com, number)
    for account in Account.objects.filter(domain=cast.com).order_by("pk")[:5]:
        factories.make_forward(cast.com, f"to-{account.name}", account.address)
    Account.objects.filter(name="user00003").get().set_password("another-long-word")
    client.get(USERS)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = client.get(USERS)
    assert response.status_code == 200
    assert len(names_on(response.text)) == min(number + 1, 50)
    return len(queries)


@pytest.mark.long
@pytest.mark.parametrize("number", [10, 1000, 10_000])
def test_list_takes_the_same_eight_queries_at_any_number_of_accounts(
    cast: Cast, sakura: Client, number: int
) -> None:
    factories.answer()
    Plan.objects.update(account_limit=1_000_000)
    assert queries_with(cast, sakura, number) == 8


def test_list_is_of_this_domain_only(com: Domain, net: Domain, sakura: Client) -> None:
    factories.make_account(net, "elsewhere")
    assert "elsewhere" not in names_on(sakura.get(USERS).text)
    assert names_on(sakura.get("/domains/example.net/users/").text) == ["elsewhere"]


def test_moving_rows_are_asked_for_again_and_quiet_ones_are_not(
    com: Domain, sakura: Client
) -> None:
    assert "hx-trigger" not in sakura.get(USERS).text
    factories.make_account(com, "info")
    assert 'hx-trigger="every 15s"' in sakura.get(USERS).text


def test_generating_a_password_keeps_the_mailbox_name_typed_in_the_offer(sakura: Client) -> None:
    typed = {"name": "wakaba", "taken": "wakaba", "mailbox": "my-own-choice", "password": ""}
    text = sakura.post("/domains/example.com/users/", {**typed, "generate": "1"}).text
    assert 'value="my-own-choice"' in text


@pytest.mark.parametrize("taken", ["a\0b", "../a", "A B", "x" * 100])
def test_offer_for_a_name_that_no_account_can_have_is_none(sakura: Client, taken: str) -> None:
    form = {"name": "info", "password": "", "generate": "1", "taken": taken}
    answer = sakura.post("/domains/example.com/users/", form)
    assert answer.status_code == 200
    assert "my" + taken not in answer.text
