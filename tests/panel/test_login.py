"""Logging in, being slowed down, and keeping one's language."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from time_machine import TimeMachineFixture

from accounts.models import User
from mailuser import throttle
from tests import factories
from tests.conftest import Cast, browser, logged_in


def log_in(client: Client, password: str = factories.PASSWORD, login: str = "sakura") -> int:
    """Send the login form; return the status."""
    return client.post("/login/", {"username": login, "password": password}).status_code


def test_customer_with_several_domains_comes_to_the_choice(cast: Cast) -> None:
    response = browser().post(
        "/login/", {"username": "sakura", "password": factories.PASSWORD}, follow=True
    )
    assert response.redirect_chain[-1] == ("/domains/", 302)
    assert "example.com" in response.text
    assert "example.net" in response.text
    assert "wakaba" not in response.text


def test_customer_with_one_domain_comes_to_it(cast: Cast) -> None:
    response = browser().post(
        "/login/", {"username": "wakaba", "password": factories.PASSWORD}, follow=True
    )
    assert response.redirect_chain[-1] == ("/domains/wakaba.example/", 302)


def test_operator_comes_to_the_admin(operator: Client) -> None:
    assert operator.get("/").headers["Location"] == "/admin/"


def test_customer_has_no_admin(sakura: Client) -> None:
    assert sakura.get("/admin/").status_code == 302
    assert sakura.get("/admin/accounts/account/").status_code == 302


def test_login_does_not_lead_to_another_site(cast: Cast) -> None:
    form = {"username": "wakaba", "password": factories.PASSWORD, "next": "https://evil.example/"}
    assert browser().post("/login/", form).headers["Location"] == "/"


def test_wrong_password_keeps_the_name_and_not_the_password(cast: Cast) -> None:
    response = browser().post("/login/", {"username": "sakura", "password": "wrong-password"})
    assert response.status_code == 200
    assert 'value="sakura"' in response.text
    assert "wrong-password" not in response.text
    assert 'class="error"' in response.text


def test_wrong_name_and_wrong_password_are_answered_alike(cast: Cast) -> None:
    answers = {
        browser()
        .post("/login/", {"username": name, "password": "wrong-password"})
        .text.replace(name, "NAME")
        .partition('class="error"')[2]
        .partition("</p>")[0]
        for name in ("sakura", "nobody")
    }
    assert len(answers) == 1


def test_ten_wrong_passwords_lock_this_login_from_this_address_for_a_quarter_of_an_hour(
    cast: Cast, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T12:00:00+09:00", tick=False)
    client = browser()
    statuses = [log_in(client, "wrong-password") for _ in range(10)]
    assert statuses == [200] * 9 + [429]
    assert log_in(client) == 429
    assert (
        "Too many attempts"
        in client.post("/login/", {"username": "sakura", "password": factories.PASSWORD}).text
    )
    assert log_in(client, login="wakaba") == 302
    elsewhere = Client(headers={"host": "panel.plusmail.test"}, REMOTE_ADDR="192.0.2.9")
    assert log_in(elsewhere) == 302
    time_machine.shift(timedelta(minutes=16))
    assert log_in(client) == 302


def _at(address: str) -> Client:
    return Client(headers={"host": "panel.plusmail.test"}, REMOTE_ADDR=address)


def test_one_password_tried_at_many_logins_locks_the_place(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_FROM_A_PLACE", 12)
    for number in range(12):
        log_in(_at("192.0.2.8"), "summer-2026", f"somebody{number}")
    assert log_in(_at("192.0.2.8")) == 429
    assert log_in(_at("192.0.2.9")) == 302


def test_guesses_from_many_places_lock_the_login(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST_FOR_A_LOGIN", 12)
    for number in range(12):
        log_in(_at(f"198.51.100.{number}"), f"guess-{number}")
    assert log_in(_at("192.0.2.9")) == 429
    assert log_in(_at("192.0.2.9"), login="wakaba") == 302


def test_success_forgets_the_wrong_attempts(cast: Cast) -> None:
    for _round in range(2):
        client = browser()
        assert [log_in(client, "wrong-password") for _ in range(6)] == [200] * 6
        assert log_in(client) == 302


def test_nul_in_the_login_is_refused_and_breaks_nothing(cast: Cast) -> None:
    assert log_in(browser(), login="sak\x00ura") == 200


def test_logout_needs_a_form(sakura: Client) -> None:
    assert sakura.get("/logout/").status_code == 405
    assert sakura.post("/logout/").headers["Location"] == "/login/"
    assert sakura.get("/domains/").status_code == 302


def test_own_password_is_changed_with_the_old_one(sakura: Client) -> None:
    form = {
        "old_password": "wrong",
        "new_password1": "new-login-word",
        "new_password2": "new-login-word",
    }
    assert sakura.post("/login/password/", form).status_code == 200
    assert User.objects.get(username="sakura").check_password(factories.PASSWORD)
    form["old_password"] = factories.PASSWORD
    assert sakura.post("/login/password/", form).headers["Location"] == "/"
    assert User.objects.get(username="sakura").check_password("new-login-word")


# Language.


def test_panel_speaks_the_browsers_language(cast: Cast) -> None:
    assert 'lang="ja"' in browser("ja").get("/login/").text
    assert 'lang="en"' in browser("en").get("/login/").text
    assert 'lang="ja"' in browser("fr").get("/login/").text


def test_chosen_language_stays_in_this_browser_without_a_login(cast: Cast) -> None:
    client = browser("en")
    response = client.post("/language/", {"language": "ja", "next": "/login/?next=/domains/"})
    assert response.headers["Location"] == "/login/?next=/domains/"
    assert 'lang="ja"' in client.get("/login/").text


def test_chosen_language_comes_back_with_the_login_in_another_browser(cast: Cast) -> None:
    logged_in(cast.sakura.user).post("/language/", {"language": "ja", "next": "/"})
    other = browser("en")
    assert 'lang="en"' in other.get("/login/").text
    log_in(other)
    assert 'lang="ja"' in other.get("/domains/").text


@pytest.mark.parametrize("language", ["fr", "", "../ja", "ja\n"])
def test_language_that_the_panel_does_not_speak_changes_nothing(cast: Cast, language: str) -> None:
    client = logged_in(cast.sakura.user)
    client.post("/language/", {"language": language, "next": "/"})
    assert 'lang="en"' in client.get("/domains/").text
    assert User.objects.get(username="sakura").language == ""


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_choice_of_language_leads_to_no_other_site(cast: Cast, back: str) -> None:
    response = browser().post("/language/", {"language": "ja", "next": back})
    assert response.headers["Location"] == "/"
