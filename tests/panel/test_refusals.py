"""What the panel answers to addresses, cookies and wishes that it does not follow."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from accounts.models import Account
from forwarding import removal
from propagation.models import ChangeState
from tests import factories
from tests.conftest import Cast, browser


def cancellation(key: str) -> str:
    """Return the address at which a record's pending change is taken back."""
    return f"/domains/example.com/changes/{factories.pending(key).pk}/cancel/"


# Where to return to.


@pytest.mark.parametrize("back", ["foo", "logout", "logout/", "", "./login/", "?next=/", "\\/foo"])
def test_page_to_return_to_is_named_by_its_whole_path(cast: Cast, back: str) -> None:
    response = browser().post("/language/", {"language": "ja", "next": back})
    assert (response.status_code, response.headers["Location"]) == (302, "/")


def test_cancelled_change_returns_to_the_domain_when_the_page_is_no_path(
    sakura: Client, tanaka: Account
) -> None:
    tanaka.set_password("another-long-word")
    response = sakura.post(cancellation(tanaka.key), {"next": "logout", "sure": "1"})
    assert response.headers["Location"] == "/domains/example.com/"


# What no name of ours has in it.


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "django_language", "other"])
@pytest.mark.parametrize("path", ["/", "/login/", "/domains/example.com/", "/healthz"])
def test_nul_in_a_cookie_is_a_bad_request(cast: Cast, path: str, name: str) -> None:
    response = browser().get(path, headers={"cookie": rf'{name}="a\000b"'})
    assert response.status_code == 400


def test_nul_in_a_path_is_a_bad_request(sakura: Client) -> None:
    assert sakura.get("/domains/example.com%00/").status_code == 400


# A page that updates itself after the login has ended.


@pytest.mark.parametrize("page", ["", "users/", "forwarding/"])
def test_page_that_updates_itself_without_a_login_is_reloaded_as_a_whole(
    cast: Cast, page: str
) -> None:
    path = f"/domains/example.com/{page}"
    response = browser().get(path, headers={"hx-request": "true"})
    assert (response.status_code, response.headers["HX-Refresh"]) == (200, "true")
    assert response.content == b""
    plain = browser().get(path)
    assert plain.headers["Location"] == f"/login/?next={path}"
    assert "HX-Refresh" not in plain.headers


def test_page_that_updates_itself_with_a_login_is_shown(sakura: Client) -> None:
    response = sakura.get("/domains/example.com/", headers={"hx-request": "true"})
    assert "HX-Refresh" not in response.headers
    assert "example.com" in response.text


# A plan that leaves accounts to the operator.


@pytest.fixture
def managed(cast: Cast, tanaka: Account) -> Account:
    """An account with a forward, in a domain whose customer adds and deletes none."""
    factories.make_forward(cast.com, "info", "tanaka@example.com", "x@example.org")
    factories.settle()
    cast.plan.self_service = False
    cast.plan.save(update_fields=["self_service"])
    return tanaka


@pytest.mark.parametrize("key", ["mailbox:tanaka", "address:info@example.com"])
def test_customer_does_not_take_back_the_operators_deletion(
    cast: Cast, sakura: Client, managed: Account, key: str
) -> None:
    removal.delete_account(managed, by=cast.operator)
    path = cancellation(key)
    assert sakura.get(path).status_code == 403
    assert sakura.post(path, {"sure": "1"}).status_code == 403
    assert factories.state_of(managed.key) == ChangeState.PENDING
    assert factories.pending(managed.key).removes


def test_customer_does_not_take_back_an_account_that_the_operator_adds(
    cast: Cast, sakura: Client, managed: Account
) -> None:
    factories.make_account(cast.com, "suzuki", by=cast.operator)
    assert sakura.post(cancellation("mailbox:suzuki"), {"sure": "1"}).status_code == 403
    assert Account.objects.filter(name="suzuki").exists()


def test_customer_takes_back_a_password_in_such_a_plan(sakura: Client, managed: Account) -> None:
    managed.set_password("another-long-word")
    response = sakura.post(cancellation(managed.key), {"sure": "1"})
    assert response.status_code == 302
    assert "Taken back" in str(next(iter(get_messages(response.wsgi_request))))
    assert factories.state_of(managed.key) == ChangeState.CANCELLED
