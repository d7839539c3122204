"""A form whose login or token has ended: nothing is saved, and little has to be typed again."""

from __future__ import annotations

from random import Random

import pytest
from django.test import Client

from accounts.models import Account, Domain
from forwarding.models import ForwardingAddress
from tests import factories
from tests.conftest import Cast, browser

USERS = "/domains/example.com/users/"
FORWARDS = "/domains/example.com/forwarding/"
ORIGIN = "http://panel.plusmail.test"
ACCOUNT = {"name": "typed-name", "password": factories.PASSWORD}
FORWARD = {"local_part": "sales", "destination": ["x@example.org", "y@example.org"]}
ENDED = "Your login had ended"


def log_in(client: Client, path: str) -> str:
    """Log in where the panel led to; return the page that follows."""
    form = {"username": "sakura", "password": factories.PASSWORD, "next": path}
    return client.post("/login/", form, follow=True).text


@pytest.fixture
def strict(cast: Cast) -> Client:
    """The browser of example.com's owner, whose forms need their token."""
    client = Client(
        enforce_csrf_checks=True,
        headers={"host": "panel.plusmail.test", "accept-language": "en"},
    )
    client.force_login(cast.sakura.user, "django.contrib.auth.backends.ModelBackend")
    return client


def from_page(path: str, origin: str = ORIGIN) -> dict[str, str]:
    """Return the headers with which a browser sends the form of a page."""
    return {"origin": origin, "referer": f"{origin}{path}"}


# The login has ended.


def test_account_typed_without_a_login_stands_in_its_form_after_it(cast: Cast) -> None:
    client = browser()
    text = client.post(USERS, ACCOUNT, follow=True).text
    assert ENDED in text
    assert factories.PASSWORD not in client.cookies["typed"].value
    text = log_in(client, USERS)
    assert 'name="name" value="typed-name"' in text
    assert factories.PASSWORD not in text
    assert not Account.objects.filter(name="typed-name").exists()
    assert "typed-name" not in client.get(USERS).text


def test_forward_typed_without_a_login_stands_in_its_form_after_it(cast: Cast) -> None:
    client = browser()
    client.post(FORWARDS, FORWARD)
    text = log_in(client, FORWARDS)
    for typed in ("sales", "x@example.org", "y@example.org"):
        assert f'value="{typed}"' in text
    assert 'name="keep_copy">' in text
    assert not ForwardingAddress.objects.exists()


@pytest.mark.parametrize("page", ["catch-all/", "{pk}/"])
def test_destinations_of_other_pages_are_kept_as_well(com: Domain, page: str) -> None:
    path = FORWARDS + page.format(pk=factories.make_forward(com, "a", "x@example.org").pk)
    client = browser()
    client.post(path, {"destination": ["z@example.org"]})
    assert 'value="z@example.org"' in log_in(client, path)


def test_what_was_typed_stands_in_no_other_form(com: Domain) -> None:
    client = browser()
    client.post("/domains/example.net/users/", ACCOUNT)
    assert "typed-name" not in log_in(client, USERS)


def test_page_asked_for_without_a_login_says_nothing_of_that(cast: Cast) -> None:
    client = browser()
    assert ENDED not in client.get(USERS, follow=True).text


@pytest.mark.parametrize("held", ["", "nonsense", "a:b:c"])
def test_cookie_of_other_making_is_not_believed(sakura: Client, held: str) -> None:
    sakura.cookies["typed"] = held
    assert sakura.get(USERS).status_code == 200


def test_too_much_is_not_kept(cast: Cast) -> None:
    client = browser()
    client.post(FORWARDS, {"destination": [Random(n).randbytes(3000).hex() for n in range(20)]})
    text = log_in(client, FORWARDS)
    assert 'name="destination" id="destination" value=""' in text


# The form's token is no longer good.


def test_form_with_an_old_token_opens_again_with_what_was_typed(strict: Client) -> None:
    response = strict.post(USERS, ACCOUNT, headers=from_page(f"{USERS}?q=a"))
    assert response.status_code == 403
    assert "Your entry was not saved" in response.text
    assert "What you typed is still there, apart from passwords." in response.text
    assert f'href="{ORIGIN}{USERS}?q=a"' in response.text
    assert factories.PASSWORD not in response.text
    assert 'name="name" value="typed-name"' in strict.get(f"{USERS}?q=a").text
    assert "typed-name" not in strict.get(USERS).text


def test_way_back_never_leads_to_another_site(strict: Client) -> None:
    response = strict.post(USERS, ACCOUNT, headers=from_page("//evil.example/"))
    assert f'href="{ORIGIN}//evil.example/"' in response.text
    assert 'href="//' not in response.text


def test_form_of_another_site_leaves_nothing_here(strict: Client) -> None:
    for headers in (from_page(USERS, "https://evil.example"), {}):
        response = strict.post(USERS, ACCOUNT, headers=headers)
        assert response.status_code == 403
        assert "Please go back, load the page again" in response.text
        assert "evil" not in response.text
        assert "typed" not in strict.cookies


def test_old_token_is_explained_in_the_readers_language(strict: Client) -> None:
    headers = {**from_page("/login/"), "accept-language": "ja"}
    text = strict.post("/login/", {"username": "a", "password": "b"}, headers=headers).text
    assert 'lang="ja"' in text
    assert "もう一度送信してください" in text
    assert "入力内容は残っています" not in text
