"""Who looked at whose mail: kept as it is, for a year, for the operator and the domain's owner."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Account
from remotemail.models import Action, MailAccess
from remotemail.tasks import prune_mail_accesses
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def note(account: Account, by: object, **fields: object) -> MailAccess:
    made = MailAccess.objects.note(
        by=by, account=account, action=Action.READ, address="192.0.2.7", folder="INBOX", messages=1
    )
    MailAccess.objects.filter(pk=made.pk).update(**fields)
    return made


def test_names_stay_when_login_and_account_are_gone(cast: Cast, tanaka: Account) -> None:
    access = note(tanaka, cast.operator)
    cast.operator.delete()
    tanaka.forget()
    access.refresh_from_db()
    assert (access.user, access.user_name) == (None, "operator")
    assert access.account_name == "tanaka@example.com"
    assert access.address == "192.0.2.7"


def test_new_account_of_the_same_name_shows_nothing_of_the_old(
    cast: Cast, tanaka: Account, sakura: Client
) -> None:
    note(tanaka, cast.sakura.user)
    tanaka.forget()
    again = factories.make_account(cast.com, "tanaka")
    factories.settle()
    page = sakura.get(f"/domains/example.com/users/{again.pk}/mail/trail/")
    assert "192.0.2.7" not in page.text
    assert "Nobody has looked at this account" in page.text


def test_owner_sees_the_trail(cast: Cast, tanaka: Account, sakura: Client) -> None:
    note(tanaka, cast.sakura.user)
    page = sakura.get(f"/domains/example.com/users/{tanaka.pk}/mail/trail/").text
    assert "Read a message" in page
    assert "192.0.2.7" in page


def test_trail_forgets_after_its_time(cast: Cast, tanaka: Account, settings: Settings) -> None:
    settings.MAIL_ACCESS_DAYS = 30
    old = note(tanaka, cast.sakura.user, at=now() - timedelta(days=31))
    young = note(tanaka, cast.sakura.user, at=now() - timedelta(days=29))
    prune_mail_accesses()
    assert list(MailAccess.objects.all()) == [young]
    assert not MailAccess.objects.filter(pk=old.pk).exists()
    settings.MAIL_ACCESS_DAYS = 28
    call_command("prune_mail_accesses")
    assert not MailAccess.objects.exists()


def test_admin_shows_the_trail_and_changes_nothing(
    cast: Cast, tanaka: Account, operator: Client
) -> None:
    access = note(tanaka, cast.sakura.user)
    path = "/admin/remotemail/mailaccess/"
    assert "tanaka@example.com" in operator.get(path).text
    page = operator.get(f"{path}{access.pk}/change/")
    assert page.status_code == 200
    assert 'name="_save"' not in page.text
    assert operator.post(f"{path}{access.pk}/change/", {"user_name": "x"}).status_code == 403
    assert operator.post(f"{path}{access.pk}/delete/", {"post": "yes"}).status_code == 403
    assert operator.get(f"{path}add/").status_code == 403
    delete = {"action": "delete_selected", "_selected_action": [access.pk], "post": "yes"}
    operator.post(path, delete)
    assert MailAccess.objects.filter(pk=access.pk, user_name="sakura").exists()


def test_account_that_is_on_its_way_is_said_so(cast: Cast, sakura: Client) -> None:
    account = factories.make_account(cast.com, "later")
    page = sakura.get(f"/domains/example.com/users/{account.pk}/mail/")
    assert "This account is not on the mail server yet." in page.text
    assert not MailAccess.objects.exists()


def test_server_that_nobody_connected_is_said_so(tanaka: Account, sakura: Client) -> None:
    page = sakura.get(f"/domains/example.com/users/{tanaka.pk}/mail/")
    assert "The panel is not connected with this account" in page.text
    assert not MailAccess.objects.exists()


def test_each_row_of_the_user_manager_leads_there(tanaka: Account, sakura: Client) -> None:
    page = sakura.get("/domains/example.com/users/")
    assert f"/domains/example.com/users/{tanaka.pk}/mail/" in page.text


@pytest.mark.parametrize(
    ("language", "words"), [("ja", "二度と受信することができません"), ("en", "never")]
)
def test_help_is_open_to_everybody(stranger: Client, language: str, words: str) -> None:
    page = stranger.get("/help/remote-mail", headers={"accept-language": language})
    assert words in page.text
    assert "top 1 5" in page.text
