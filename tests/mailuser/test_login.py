from __future__ import annotations

import itertools
from unittest.mock import patch

import pytest
from django.test import Client
from django.urls import reverse

from accounts import passwords
from accounts.models import Account, User
from history.acting import Hand
from history.models import Entry
from mailuser.backends import TRIED
from mailuser.models import AccountRights, DomainRights
from tests import factories
from tests.conftest import Cast, browser
from tests.mailuser.people import HOME, as_user

PASSWORD = "correct-horse-battery"


@pytest.fixture
def tanaka(cast: Cast) -> Account:
    """An account whose password is known."""
    account = factories.make_account(cast.com, "tanaka")
    account.set_password(PASSWORD)
    factories.settle()
    return account


def login(client: Client, name: str, password: str = PASSWORD) -> None:
    """Send the panel's login form."""
    client.post(reverse("login"), {"username": name, "password": password})


def words(client: Client, name: str, password: str = PASSWORD) -> str:
    """Return what the login says where it lets nobody in."""
    response = client.post(reverse("login"), {"username": name, "password": password})
    assert response.status_code == 200
    [said] = response.context["form"].non_field_errors()
    assert client.get(HOME).status_code == 302
    return str(said)


def on_another_server(name: str) -> Account:
    """Open an account of this name on a server of its own."""
    owner = factories.make_customer("elsewhere", "Elsewhere")
    domain = factories.make_domain(
        "elsewhere.example",
        customer=owner,
        plan=factories.make_plan("other"),
        server=factories.make_server("mail9.plusmail.test"),
    )
    account = factories.make_account(domain, name)
    account.set_password(PASSWORD)
    factories.settle()
    return account


@pytest.mark.parametrize("name", ["tanaka", "tanaka@example.com", " Tanaka@EXAMPLE.com "])
def test_logs_in_by_address_or_by_a_name_that_is_his_alone(tanaka: Account, name: str) -> None:
    client = browser()
    response = client.post(reverse("login"), {"username": name, "password": PASSWORD})
    assert response.headers["Location"] == HOME
    page = client.get(HOME)
    assert page.status_code == 200
    assert "tanaka@example.com" in page.text
    assert "_auth_user_id" not in client.session
    assert client.get("/").headers["Location"] == HOME
    assert client.get(reverse("login")).headers["Location"] == HOME
    client.post(reverse("logout"))
    assert client.get(HOME).status_code == 302


def test_history_tells_the_owner_of_his_logins(tanaka: Account) -> None:
    client = browser()
    login(client, "tanaka", "wrong-wrong-wrong")
    login(client, "tanaka")
    entry = Entry.objects.get(area="mailbox", what="login")
    assert (entry.domain, entry.subject) == ("example.com", "tanaka@example.com")
    assert (entry.hand, entry.actor, entry.address) == (
        Hand.MAILBOX,
        "tanaka@example.com",
        "127.0.0.1",
    )


def test_is_led_only_to_pages_of_his_own(tanaka: Account) -> None:
    for wanted, to in ((f"{HOME}archives/", f"{HOME}archives/"), ("/domains/", HOME)):
        response = browser().post(
            reverse("login"), {"username": "tanaka", "password": PASSWORD, "next": wanted}
        )
        assert response.headers["Location"] == to


def test_name_of_two_servers_needs_the_address_once_the_password_is_right(
    tanaka: Account,
) -> None:
    on_another_server("tanaka")
    client = browser()
    wrong = words(client, "tanaka", "wrong-wrong-wrong")
    assert words(client, "nobody-has-this") == wrong
    assert "whole address" in (asked := words(client, "tanaka"))
    assert asked != wrong
    login(client, "tanaka@elsewhere.example")
    assert "tanaka@elsewhere.example" in client.get(HOME).text


def test_customers_login_of_the_same_name_stays_the_customers(tanaka: Account) -> None:
    User.objects.create_user("tanaka", password="the-customers-own-word")
    client = browser()
    assert "More than one" in words(client, "tanaka")
    login(client, "tanaka", "the-customers-own-word")
    assert "_auth_user_id" in client.session
    assert client.get(HOME).status_code == 404


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("tanaka", "wrong-wrong-wrong"),
        ("tanaka@example.com", "wrong-wrong-wrong"),
        ("tanaka@nowhere.example", PASSWORD),
        ("nobody", PASSWORD),
        ("nopassword", PASSWORD),
        ("sakura", "wrong-wrong-wrong"),
        ("tanaka", "日本語" * 500),
        ("tanaka", "x" * 5000),
    ],
)
def test_each_failure_does_the_same_work_and_gets_the_same_words(
    cast: Cast, tanaka: Account, name: str, password: str
) -> None:
    account = factories.make_account(cast.com, "nopassword")
    Account.objects.filter(pk=account.pk).update(password_hash=passwords.unusable_hash())
    with patch("accounts.passwords.verify", side_effect=passwords.verify) as verified:
        assert "whole address" in words(browser(), name, password)
    assert verified.call_count == TRIED


def test_a_hash_of_fewer_rounds_is_made_up_for() -> None:
    weak = passwords.SCHEMES["SHA512-CRYPT"].using(rounds=1000).hash(PASSWORD)
    usual = passwords.ROUNDS["SHA512-CRYPT"][1]
    with (
        patch("accounts.passwords.settings.MAILBOX_PASSWORD_ROUNDS", 0),
        patch("accounts.passwords.sha512_crypt.using") as using,
    ):
        assert passwords.verify_evenly(PASSWORD, f"{{SHA512-CRYPT}}{weak}")
    using.assert_called_once_with(rounds=usual - 1000)


@pytest.mark.parametrize(
    "ways",
    [
        ("tanaka", "TANAKA", " tanaka ", "tanaka ", "Tanaka"),
        ("tanaka@example.com", "tanaka@EXAMPLE.com", " tanaka@example.com", "TANAKA@example.com"),
        ("nobody@example.com", "nobody@EXAMPLE.com", " nobody@example.com", "NOBODY@example.com"),
        ("tanaka@other.example", "tanaka@OTHER.example", "TANAKA@other.example"),
    ],
)
def test_all_ways_of_writing_a_name_are_throttled_together(
    tanaka: Account, ways: tuple[str, ...]
) -> None:
    client = browser()
    for _, name in zip(range(10), itertools.cycle(ways), strict=False):
        client.post(reverse("login"), {"username": name, "password": "wrong-wrong-wrong"})
    response = client.post(reverse("login"), {"username": ways[0], "password": PASSWORD})
    assert response.status_code == 429
    assert client.get(HOME).status_code == 302


def test_guessing_at_a_name_does_not_tell_whose_it_is(cast: Cast, tanaka: Account) -> None:
    client = browser()
    for _ in range(10):
        client.post(reverse("login"), {"username": "tanaka", "password": "wrong-wrong-wrong"})
    codes = {
        client.post(reverse("login"), {"username": name, "password": "wrong"}).status_code
        for name in ("tanaka@example.com", "tanaka@example.net", "tanaka@nowhere.example")
    }
    assert codes == {422} or codes == {200}


def test_the_operators_login_knows_no_mailbox(tanaka: Account) -> None:
    client = browser()
    client.post("/admin/login/", {"username": "tanaka@example.com", "password": PASSWORD})
    assert client.get(HOME).status_code == 302


def test_who_may_not_log_in_hears_of_it_only_with_the_right_password(tanaka: Account) -> None:
    AccountRights.objects.create(account=tanaka, login=False)
    client = browser()
    assert "not allowed" in words(client, "tanaka")
    assert "not allowed" not in words(client, "tanaka", "wrong-wrong-wrong")
    AccountRights.objects.all().delete()
    tanaka.delete_later()
    assert "being deleted" in words(client, "tanaka")


def test_session_ends_with_password_right_or_account(cast: Cast, tanaka: Account) -> None:
    client = as_user(tanaka)
    assert client.get(HOME).status_code == 200
    tanaka.set_password("another-long-password")
    assert client.get(HOME).status_code == 302

    client = as_user(tanaka)
    rights = DomainRights.objects.create(domain=cast.com, login=False)
    assert client.get(HOME).status_code == 302
    rights.delete()
    assert client.get(HOME).status_code == 200
    factories.settle()
    tanaka.delete_later()
    assert client.get(HOME).status_code == 302


def test_changes_his_password_and_stays_while_other_sessions_end(tanaka: Account) -> None:
    here, elsewhere = as_user(tanaka), as_user(tanaka)
    was = tanaka.password_hash
    form = {"password": "a-brand-new-password", "present": PASSWORD}
    for present in ("", "wrong-wrong-wrong"):
        refused = here.post(reverse("mailbox_change_password"), form | {"present": present})
        assert refused.status_code == 422
    assert here.post(reverse("mailbox_change_password"), form).headers["Location"] == HOME
    tanaka.refresh_from_db()
    assert tanaka.password_hash != was
    assert here.get(HOME).status_code == 200
    assert elsewhere.get(HOME).status_code == 302
    again = {"password": "short", "present": "a-brand-new-password"}
    refused = here.post(reverse("mailbox_change_password"), again)
    assert refused.status_code == 422


@pytest.mark.parametrize(
    "page",
    ["help_mailbox", "help_sending", "help_remote_mail", "help_mail_program", "help_webmail"],
)
def test_help_knows_that_he_is_logged_in(tanaka: Account, page: str) -> None:
    text = as_user(tanaka).get(reverse(page)).text
    assert "To the panel" in text
    assert "/login/" not in text


def test_his_archives_offer_to_archive_his_own_mail(tanaka: Account) -> None:
    text = as_user(tanaka).get(reverse("mailbox_archives")).text
    assert "Archive my mail now" in text
    assert "no mailbox of this domain" not in text


def test_language_comes_back_with_the_next_login(tanaka: Account) -> None:
    client = as_user(tanaka, "ja")
    client.post(reverse("choose_language"), {"language": "en", "next": HOME})
    later = browser("ja")
    response = later.post(reverse("login"), {"username": "tanaka", "password": PASSWORD})
    assert response.cookies["django_language"].value == "en"
