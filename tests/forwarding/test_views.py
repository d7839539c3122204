"""Email Forwarding, as a customer sees it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Domain
from forwarding.models import ForwardingAddress
from propagation.models import Change, ChangeState
from tests import factories
from tests.conftest import Cast

PAGE = "/domains/example.com/forwarding/"


def leads(local_part: str) -> list[str] | None:
    """Return where an address of example.com leads; None if there is none."""
    row = ForwardingAddress.objects.filter(
        domain__name="example.com", local_part=local_part
    ).first()
    return row.leads_to() if row else None


def test_left_box_and_right_box_make_an_address(sakura: Client) -> None:
    form = {"local_part": "Sales", "destination": ["x@Example.org", ""]}
    response = sakura.post(PAGE, form, follow=True)
    assert leads("sales") == ["x@example.org"]
    assert "sales@example.com will be forwarded like this from about" in response.text


def test_copy_stays_only_where_there_is_a_mailbox(sakura: Client, tanaka: Account) -> None:
    for name in ("tanaka", "info"):
        form = {"local_part": name, "destination": ["x@example.org"], "keep_copy": "on"}
        assert sakura.post(PAGE, form).status_code == 302
    assert leads("tanaka") == ["tanaka@example.com", "x@example.org"]
    assert leads("info") == ["x@example.org"]


@pytest.mark.parametrize(
    ("local_part", "destination"),
    [
        ("no good", "x@example.org"),
        ("ｉｎｆｏ", "x@example.org"),
        ("|cmd", "x@example.org"),
        (":include:", "x@example.org"),
        ("../a", "x@example.org"),
        ("a@b", "x@example.org"),
        ("", "x@example.org"),
        ("info", ""),
        ("info", "nonsense"),
        ("info", "|/bin/sh"),
        ("info", ":include:/etc/passwd"),
        ("info", "/dev/null"),
        ("info", "a@example.org, b@example.org"),
        ("info", "ｘ@example.org"),
        ("info", "info@example.com"),
        ("example", "x@example.org"),
    ],
)
def test_refused_form_keeps_what_was_typed(
    sakura: Client, local_part: str, destination: str
) -> None:
    response = sakura.post(PAGE, {"local_part": local_part, "destination": [destination]})
    assert response.status_code == 422
    assert f'name="local_part" value="{local_part}"' in response.text
    assert f'value="{destination}"' in response.text
    assert 'class="error"' in response.text
    assert not ForwardingAddress.objects.exists()
    assert not Change.objects.pending().exists()


@pytest.mark.parametrize("bad", ["x@example.org\n|cmd@example.org", "x\x00@example.org", "\r\nx"])
def test_line_breaks_and_nul_in_a_box_are_refused(sakura: Client, bad: str) -> None:
    for form in (
        {"local_part": "info", "destination": [bad]},
        {"local_part": f"in{bad}fo", "destination": ["x@example.org"]},
    ):
        assert sakura.post(PAGE, form).status_code == 422
    assert not ForwardingAddress.objects.exists()


def test_every_box_keeps_its_text(sakura: Client) -> None:
    form = {"local_part": "info", "destination": ["x@example.org", "nonsense", "y@example.org"]}
    text = sakura.post(PAGE, form).text
    for typed in form["destination"]:
        assert f'value="{typed}"' in text


def test_more_boxes_are_added_without_judging(sakura: Client) -> None:
    form = {"local_part": "no good", "destination": ["nonsense"], "another": "1"}
    response = sakura.post(PAGE, form)
    assert response.status_code == 200
    assert response.text.count('name="destination"') == 4
    assert 'value="no good"' in response.text
    assert 'value="nonsense"' in response.text
    assert 'class="error"' not in response.text


def test_no_more_boxes_are_offered_than_are_accepted(sakura: Client) -> None:
    typed = [f"x{number}@example.org" for number in range(18)]
    text = sakura.post(PAGE, {"local_part": "a", "destination": typed, "another": "1"}).text
    assert text.count('name="destination"') == 20
    assert 'name="another"' not in text
    text = sakura.post(PAGE, {"local_part": "a", "destination": [*typed] * 2, "another": "1"}).text
    assert text.count('name="destination"') == 21


def test_box_that_is_wrong_is_told_from_the_others(sakura: Client) -> None:
    form = {"local_part": "info", "destination": ["x@example.org", "nonsense", ""]}
    text = sakura.post(PAGE, form).text
    boxes = re.findall(r'<input name="destination"[^>]*>', text)
    assert ["aria-invalid" in box for box in boxes] == [False, True, False]


def test_circle_is_shown_next_to_the_destination(com: Domain, sakura: Client) -> None:
    factories.make_forward(com, "a", "b@example.com")
    response = sakura.post(PAGE, {"local_part": "b", "destination": ["a@example.com"]})
    assert response.status_code == 422
    assert "b@example.com → a@example.com → b@example.com" in response.text


def test_address_that_is_forwarded_already_is_pointed_to(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    response = sakura.post(PAGE, {"local_part": "Info", "destination": ["y@example.org"]})
    assert response.status_code == 422
    assert "info@example.com is already forwarded." in response.text
    error = response.text.partition('id="local_part-error"')[2].partition("</div>")[0]
    assert f'href="{PAGE}{row.pk}/"' in error
    assert leads("info") == ["x@example.org"]


def test_row_shows_what_is_wanted_and_what_is_live(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "old@example.org")
    factories.settle()
    row.lead(["new@example.org"])
    text = sakura.get(PAGE).text
    assert "new@example.org" in text
    assert "at present: old@example.org" in text
    assert "Waiting to be changed" in text


def test_dead_end_is_marked(com: Domain, sakura: Client) -> None:
    factories.make_forward(com, "info", "nobody@example.com")
    factories.settle()
    text = sakura.get(PAGE).text
    assert "does not exist: mail is returned" in text
    assert "Does not arrive" in text
    assert "leads to an address that does not exist" in sakura.get("/domains/example.com/").text


def test_change_is_saved_and_shown_filled_in(com: Domain, sakura: Client, tanaka: Account) -> None:
    row = factories.make_forward(com, "tanaka", "tanaka@example.com", "x@example.org")
    path = f"{PAGE}{row.pk}/"
    text = sakura.get(path).text
    assert 'value="x@example.org"' in text
    assert re.search(r'name="keep_copy"[^>]* checked', text)
    sakura.post(path, {"destination": ["y@example.org"]})
    assert leads("tanaka") == ["y@example.org"]


def test_refused_change_keeps_what_was_typed(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    response = sakura.post(f"{PAGE}{row.pk}/", {"destination": ["nonsense", "y@example.org"]})
    assert response.status_code == 422
    assert 'value="nonsense"' in response.text
    assert 'value="y@example.org"' in response.text
    assert leads("info") == ["x@example.org"]


def test_change_that_changes_nothing_says_so(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    response = sakura.post(f"{PAGE}{row.pk}/", {"destination": ["x@example.org"]}, follow=True)
    assert "Nothing is left to change" in response.text


def test_address_is_deleted_after_a_confirmation(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    path = f"{PAGE}{row.pk}/delete/"
    assert "x@example.org" in sakura.get(path).text
    assert leads("info") == ["x@example.org"]
    response = sakura.post(path, follow=True)
    assert "Waiting to be deleted" in response.text
    factories.settle()
    assert leads("info") is None


def test_refused_deletion_says_why(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    factories.make_forward(com, "", "info@example.com")
    response = sakura.post(f"{PAGE}{row.pk}/delete/")
    assert response.status_code == 422
    assert "round in a circle" in response.text


@pytest.fixture
def leaving(com: Domain) -> ForwardingAddress:
    """An address of which the server knows, with its removal pending."""
    row = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    row.withdraw()
    return row


@pytest.mark.parametrize("claimed", [False, True])
def test_change_of_an_address_that_is_leaving_keeps_it(
    leaving: ForwardingAddress, sakura: Client, claimed: bool
) -> None:
    if claimed:
        factories.come_due()
        assert Change.objects.claim_due(leaving.domain.server)
    response = sakura.post(f"{PAGE}{leaving.pk}/", {"destination": ["y@example.org"]}, follow=True)
    assert "info@example.com will be forwarded like this" in response.text
    factories.settle()
    assert leads("info") == ["y@example.org"]
    assert factories.state_of(leaving.key) == ChangeState.APPLIED


@pytest.mark.parametrize("page", ["", "delete/"])
def test_page_of_an_address_that_is_gone_is_not_found(
    leaving: ForwardingAddress, sakura: Client, page: str
) -> None:
    factories.settle()
    response = sakura.post(f"{PAGE}{leaving.pk}/{page}", {"destination": ["y@example.org"]})
    assert response.status_code == 404


@pytest.mark.parametrize(("page", "action"), [("", "lead"), ("delete/", "withdraw")])
def test_address_that_goes_while_its_page_is_saved_is_said_to_be_gone(
    leaving: ForwardingAddress,
    sakura: Client,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    action: str,
) -> None:
    original = getattr(ForwardingAddress, action)

    def late(row: ForwardingAddress, *args: Any, **kwargs: Any) -> None:
        factories.settle()
        original(row, *args, **kwargs)

    monkeypatch.setattr(ForwardingAddress, action, late)
    response = sakura.post(f"{PAGE}{leaving.pk}/{page}", {"destination": ["y@example.org"]})
    assert response.status_code == 422
    assert "This address is no longer forwarded." in response.text
    assert leads("info") is None
    assert not Change.objects.open().filter(key=leaving.key).exists()


def test_catch_all_is_off_until_it_is_set(com: Domain, sakura: Client) -> None:
    assert "returned to its sender" in sakura.get(PAGE).text
    path = f"{PAGE}catch-all/"
    assert sakura.get(path).status_code == 200
    sakura.post(path, {"destination": ["x@example.org"]})
    assert leads("") == ["x@example.org"]
    text = sakura.get(PAGE).text
    assert "All other names" in text
    assert "returned to its sender" not in text
    row = com.forwarding_addresses.get(local_part="")
    assert sakura.get(path).headers["Location"] == f"{PAGE}{row.pk}/"


def test_refused_catch_all_keeps_what_was_typed(sakura: Client) -> None:
    response = sakura.post(f"{PAGE}catch-all/", {"destination": ["nobody@example.com"]})
    assert response.status_code == 422
    assert 'value="nobody@example.com"' in response.text


def test_locked_fixed_address_is_listed_without_buttons(sakura: Client) -> None:
    text = sakura.get("/domains/example.net/forwarding/").text
    assert "Fixed address" in text
    assert "example@example.com" in text
    form = {"local_part": "example", "destination": ["x@example.org"]}
    assert sakura.post("/domains/example.net/forwarding/", form).status_code == 422


def test_international_addresses_are_shown_readable(com: Domain, sakura: Client) -> None:
    sakura.post(PAGE, {"local_part": "info", "destination": ["x@日本語.jp"]})
    assert leads("info") == ["x@xn--wgv71a119e.jp"]
    assert "x@日本語.jp" in sakura.get(PAGE).text


@pytest.mark.parametrize("number", [5, 200])
def test_list_takes_the_same_queries_at_any_number_of_addresses(
    cast: Cast, sakura: Client, number: int
) -> None:
    rows = ForwardingAddress.objects.bulk_create(
        [ForwardingAddress(domain=cast.com, local_part=f"a{n:03}") for n in range(number)]
    )
    for row in rows:
        row.destinations.create(
            address=f"x@{'example.com' if row.pk % 2 else 'x.test'}", position=0
        )
    sakura.get(PAGE)
    with CaptureQueriesContext(connection) as queries:
        sakura.get(PAGE)
    assert len(queries) == QUERIES_OF_THE_LIST


QUERIES_OF_THE_LIST = 13
