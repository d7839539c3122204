"""Which host names the panel answers to, and what a query string can do: nothing."""

from __future__ import annotations

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.models import Account, User
from panel.hosts import client_address, client_place
from propagation.models import Change
from tests import factories
from tests.conftest import Cast, browser, logged_in

METHODS = ["get", "post", "put", "patch", "delete", "head", "options"]
PANEL = "http://panel.plusmail.test/"
# What the old program took from its query string (CVE-2000-0074), and what ours calls it.
GIFTS = {
    "user": "sakura",
    "username": "sakura",
    "password": factories.PASSWORD,
    "new_password1": "stolen-password-1",
    "new_password2": "stolen-password-1",
    "newpass": "stolen-password-1",
    "name": "stolen",
    "mailbox": "stolen2",
    "action": "login",
    "csrfmiddlewaretoken": "x",
    "next": "//evil.example/",
}


@pytest.mark.parametrize("host", ["panel.plusmail.test", "PANEL.plusmail.test:8000", "testserver"])
@pytest.mark.django_db
def test_panel_answers_at_its_own_address(host: str) -> None:
    assert browser(host=host).get("/login/").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "panel.plusmail.test.evil.example",
        "xexample.com",
        "a b",
        "[::1",
        "..",
        "@",
    ],
)
def test_unknown_host_is_answered_with_400(cast: Cast, host: str) -> None:
    for path in ("/", "/login/", "/healthz", "/cgi-bin/plusmail", "/nowhere"):
        assert browser(host=host).get(path).status_code == 400


@pytest.mark.parametrize(
    "host", ["example.com", "www.example.com", "EXAMPLE.COM", "example.com.", "example.com:8080"]
)
def test_old_address_of_a_hosted_domain_leads_to_the_panel(cast: Cast, host: str) -> None:
    client = Client(headers={"host": host}, enforce_csrf_checks=True)
    for method in METHODS:
        response = getattr(client, method)("/cgi-bin/plusmail", query_params=GIFTS)
        assert (response.status_code, response.headers["Location"]) == (302, PANEL)
        assert not response.cookies


def test_old_address_on_the_panels_own_host_leads_to_it_too(cast: Cast) -> None:
    response = browser().get("/cgi-bin/plusmail", GIFTS)
    assert (response.status_code, response.headers["Location"]) == (302, PANEL)


def test_hosted_domain_shows_nothing_else(cast: Cast) -> None:
    client = logged_in(cast.sakura.user)
    for path in ("/", "/login/", "/admin/", "/healthz", "/domains/example.com/"):
        assert client.get(path, headers={"host": "example.com"}).status_code == 404


def test_redirect_follows_the_setting_and_never_the_request(cast: Cast, settings: Settings) -> None:
    settings.PANEL_URL = "https://panel.example.jp"
    response = browser(host="example.com").get(
        "/cgi-bin/plusmail", headers={"x-forwarded-host": "e"}
    )
    assert response.headers["Location"] == "https://panel.example.jp/"


@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_a_query_string_logs_in(cast: Cast, method: str) -> None:
    client = browser()
    for path in ("/", "/login/", "/login/password/", "/cgi-bin/plusmail"):
        getattr(client, method)(path, query_params=GIFTS)
        assert "_auth_user_id" not in client.session
        assert client.get("/domains/").status_code == 302


@pytest.mark.parametrize("method", ["get", "post", "put", "head"])
def test_nothing_in_a_query_string_sets_a_password(
    cast: Cast, tanaka: Account, method: str
) -> None:
    client = logged_in(cast.sakura.user)
    users = "/domains/example.com/users/"
    gifts = {**GIFTS, "password": "stolen-password-1", "old_password": factories.PASSWORD}
    for path in ("/login/password/", users, f"{users}assistant/", f"{users}{tanaka.pk}/password/"):
        getattr(client, method)(path, query_params=gifts)
    user = User.objects.get(username="sakura")
    assert user.check_password(factories.PASSWORD)
    assert Account.objects.get(pk=tanaka.pk).password_hash == tanaka.password_hash
    assert not Change.objects.pending().exists()


def test_health_is_answered_without_a_login(cast: Cast) -> None:
    response = browser().get("/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")


# Who is counted for failed logins.


def test_address_that_a_client_claims_is_not_believed(settings: Settings) -> None:
    request = RequestFactory(headers={"x-forwarded-for": "10.1.1.1, 192.0.2.7"}).get("/")
    assert client_address(request) == "127.0.0.1"
    settings.BEHIND_PROXY = True
    assert client_address(request) == "192.0.2.7"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("", ""),
    ],
)
def test_one_network_of_ipv6_is_one_place(address: str, place: str) -> None:
    assert client_place(RequestFactory(REMOTE_ADDR=address).get("/")) == place
