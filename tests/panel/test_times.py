"""What pages promise about time, while the mail server answers and while it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from time_machine import TimeMachineFixture

from accounts.models import Account, Domain
from forwarding.models import ForwardingAddress
from mailhost.host import Status
from tests import factories
from tests.conftest import Cast, logged_in

HOME = "/domains/example.com/"


@pytest.fixture(autouse=True)
def afternoon(time_machine: TimeMachineFixture, cast: Cast) -> None:
    """Stop the clock at 14:17: what is asked for now is due at 14:32."""
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)


@pytest.fixture
def info(com: Domain) -> ForwardingAddress:
    """A live forwarding address."""
    made = factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    return made


def page(client: Client, path: str) -> str:
    """Return the text of a page of example.com."""
    return client.get(f"{HOME}{path}").text


# What each page says: the path, as a function of rows, and its words up to the time.
PAGES: dict[str, tuple[Callable[[Account, ForwardingAddress], str], str]] = {
    "password": (lambda account, _row: f"users/{account.pk}/password/", "effect at about 14:32"),
    "delete": (lambda account, _row: f"users/{account.pk}/delete/", "From about 14:32"),
    "change": (lambda _account, row: f"forwarding/{row.pk}/", "effect at about 14:32"),
    "delete forward": (lambda _account, row: f"forwarding/{row.pk}/delete/", "From about 14:32"),
    "catch-all": (lambda _account, _row: "forwarding/catch-all/", "effect at about 14:32"),
}


@pytest.mark.parametrize("name", PAGES)
def test_page_promises_only_the_earliest_time_while_the_server_is_silent(
    sakura: Client, tanaka: Account, info: ForwardingAddress, name: str
) -> None:
    path, words = PAGES[name]
    assert f"{words} at the earliest" in page(sakura, path(tanaka, info))
    factories.answer()
    text = page(sakura, path(tanaka, info))
    assert words in text
    assert f"{words} at the earliest" not in text


@pytest.mark.parametrize("path", ["", "users/"])
def test_row_waits_for_the_server_and_not_for_a_time(
    com: Domain, sakura: Client, time_machine: TimeMachineFixture, path: str
) -> None:
    factories.make_account(com, "info")
    assert "once the mail server answers, not before 14:32" in page(sakura, path)
    time_machine.move_to("2026-11-25T14:40:00+09:00", tick=False)
    text = page(sakura, path)
    assert "once the mail server answers" in text
    assert "not before" not in text
    assert "in a moment" not in text
    factories.answer()
    assert "in a moment" in page(sakura, path)


@pytest.mark.parametrize("path", ["", "users/"])
def test_no_time_is_named_for_another_attempt_at_a_silent_server(
    com: Domain, sakura: Client, path: str
) -> None:
    factories.make_account(com, "info")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    assert "14:18" not in page(sakura, path)
    factories.answer()
    assert "14:18" in page(sakura, path)


def test_note_after_an_edit_names_the_earliest_time(sakura: Client) -> None:
    forms = {
        "users/": {"name": "info", "password": factories.PASSWORD},
        "forwarding/": {"local_part": "sales", "destination": ["x@example.org"]},
    }
    for path, form in forms.items():
        text = sakura.post(f"{HOME}{path}", form, follow=True).text
        assert "from about 14:32 at the earliest." in text


def test_earliest_time_is_told_in_japanese(cast: Cast, tanaka: Account) -> None:
    text = page(logged_in(cast.sakura.user, "ja"), f"users/{tanaka.pk}/password/")
    assert "新しいパスワードは 早くて 14:32 ごろから有効になります" in text


def test_home_vouches_for_the_server_only_while_it_answers(sakura: Client) -> None:
    words = "everything you see is what the mail server does"
    assert words not in page(sakura, "")
    factories.answer()
    assert words in page(sakura, "")


def test_forward_that_the_server_never_had_is_gone_at_once(com: Domain, sakura: Client) -> None:
    row = factories.make_forward(com, "info", "x@example.org")
    text = sakura.post(f"{HOME}forwarding/{row.pk}/delete/", follow=True).text
    assert "info@example.com is deleted; the mail server never had it." in text
