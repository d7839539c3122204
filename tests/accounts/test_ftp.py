"""Switching an account's FTP on and off."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from time_machine import TimeMachineFixture

from accounts.models import Account, DeletedAccount, Domain
from accounts.roles import may_take_back
from accounts.sources import mailboxes
from forwarding import removal
from propagation.cancel import cancel
from propagation.models import Change
from tests import factories
from tests.conftest import Cast


@pytest.fixture
def path(tanaka: Account) -> str:
    """The page of tanaka's FTP."""
    return f"/domains/example.com/users/{tanaka.pk}/ftp/"


def test_page_says_what_to_enter_and_what_is_seen(
    sakura: Client, path: str, settings: Settings
) -> None:
    settings.FTP_PORT_SHOWN, settings.SFTP_PORT_SHOWN = 21, 2222
    text = sakura.get(path).text
    for words in (
        "FTP is switched off",
        "Port 21, encryption",
        "Port 2222",
        factories.SERVER,
        "Of the archived mail only its own (tanaka.oldmail.DATE.gz)",
        "It opens in the directory of example.com",
    ):
        assert words in text
    settings.FTP_PORT_SHOWN = 0
    assert "encryption" not in sakura.get(path).text


def test_fixed_account_sees_all_archives(sakura: Client, com: Domain) -> None:
    text = sakura.get(f"/domains/example.com/users/{com.fixed_account_id}/ftp/").text
    assert "The archived mail of all accounts of the domain" in text


def test_switch_is_a_change_that_waits(
    sakura: Client, path: str, tanaka: Account, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)
    factories.answer()
    assert "What you switch takes effect at about 14:32." in sakura.get(path).text
    text = sakura.post(path, {"ftp": "on"}, follow=True).text
    assert "FTP for tanaka will be on from about 14:32." in text
    assert "Waiting to be changed" in text
    tanaka.refresh_from_db()
    assert tanaka.ftp
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["ftp"] is True
    assert mailboxes.describe(change) == "Switch on FTP for tanaka"
    text = sakura.post(path, {"ftp": "off"}, follow=True).text
    assert "Open connections end then." in text
    assert not Change.objects.pending().exists()


def test_owner_may_take_it_back(sakura: Client, path: str, tanaka: Account) -> None:
    sakura.post(path, {"ftp": "on"})
    change = factories.pending(tanaka.key)
    assert may_take_back(tanaka.domain, change)
    sakura.post(f"/domains/example.com/changes/{change.pk}/cancel/")
    tanaka.refresh_from_db()
    assert not tanaka.ftp
    assert not Change.objects.pending().exists()


def test_new_password_along_with_it_is_taken_back_too(tanaka: Account) -> None:
    old = tanaka.password_hash
    tanaka.set_password("another-long-word")
    tanaka.switch("ftp", True)
    change = factories.pending(tanaka.key)
    assert may_take_back(tanaka.domain, change)
    cancel([change])
    tanaka.refresh_from_db()
    assert (tanaka.ftp, tanaka.password_hash) == (False, old)


def test_what_the_operator_changed_stays_the_operators(tanaka: Account) -> None:
    tanaka.limit(quota_bytes=7)
    tanaka.switch("ftp", True)
    assert not may_take_back(tanaka.domain, factories.pending(tanaka.key))


def test_change_of_an_earlier_version_can_still_be_taken_back(tanaka: Account) -> None:
    tanaka.set_password("another-long-word")
    change = factories.pending(tanaka.key)
    for side in ("before", "after"):
        value = dict(getattr(change, side))
        del value["ftp"]
        setattr(change, side, value)
    change.save()
    assert may_take_back(tanaka.domain, change)
    tanaka.switch("ftp", True)
    change = factories.pending(tanaka.key)
    assert may_take_back(tanaka.domain, change)
    cancel([change])
    tanaka.refresh_from_db()
    assert not tanaka.ftp


def test_on_other_plans_it_is_ours_to_switch(
    sakura: Client, path: str, tanaka: Account, cast: Cast
) -> None:
    cast.plan.self_service = False
    cast.plan.save()
    assert "we switch FTP on and off for you" in sakura.get(path).text
    assert sakura.post(path, {"ftp": "on"}).status_code == 403
    tanaka.switch("ftp", True)
    tanaka.domain.refresh_from_db()
    assert not may_take_back(tanaka.domain, factories.pending(tanaka.key))


def test_account_that_is_being_deleted_is_not_switched(
    sakura: Client, path: str, tanaka: Account
) -> None:
    tanaka.delete_later()
    assert "<button>" not in sakura.get(path).text.partition("<main")[2].partition("</form")[0]
    response = sakura.post(path, {"ftp": "on"})
    assert response.status_code == 422
    assert "This account is being deleted." in response.text


@pytest.mark.parametrize("method", ["get", "post", "head", "put"])
def test_another_customers_account_is_not_found(sakura: Client, cast: Cast, method: str) -> None:
    other = cast.other.fixed_account
    for domain in ("wakaba.example", "example.com"):
        page = f"/domains/{domain}/users/{other.pk}/ftp/"
        assert getattr(sakura, method)(page).status_code in (404, 405)
    other.refresh_from_db()
    assert not other.ftp
    assert sakura.get(f"/domains/example.com/users/{uuid.uuid4()}/ftp/").status_code == 404


def test_page_says_that_a_password_is_missing(sakura: Client, cast: Cast) -> None:
    domain = Domain.objects.open(
        customer=cast.sakura, name="fresh.example", plan=cast.plan, server=cast.server
    )
    page = f"/domains/fresh.example/users/{domain.fixed_account_id}/ftp/"
    assert "Nobody can log in yet" in sakura.get(page).text


def test_row_shows_which_account_has_it(sakura: Client, tanaka: Account) -> None:
    mark = '<span class="state locked">FTP</span>'
    assert mark not in sakura.get("/domains/example.com/users/").text
    tanaka.switch("ftp", True)
    assert sakura.get("/domains/example.com/users/").text.count(mark) == 1


def test_trash_keeps_it(tanaka: Account) -> None:
    tanaka.switch("ftp", True)
    factories.settle()
    removal.delete_account(tanaka)
    factories.settle()
    deleted = DeletedAccount.objects.get(pk=tanaka.pk)
    assert deleted.ftp
    account, _left_out = removal.restore_account(deleted)
    assert account.ftp
    assert account.record().ftp


def test_operator_switches_it_by_command(tanaka: Account) -> None:
    call_command("set_ftp", "tanaka@example.com", "on")
    tanaka.refresh_from_db()
    assert tanaka.ftp
    call_command("set_ftp", "tanaka@example.com", "off")
    assert not Change.objects.pending().exists()
    with pytest.raises(CommandError, match="No such account"):
        call_command("set_ftp", "nobody@example.com", "on")
    with pytest.raises(CommandError):
        call_command("set_ftp", "tanaka@example.com", "perhaps")
    tanaka.delete_later()
    with pytest.raises(CommandError, match="削除の手続き中"):
        call_command("set_ftp", "tanaka@example.com", "on")
    with pytest.raises(ValidationError):
        tanaka.switch("ftp", True)


def test_operator_switches_it_in_admin(operator: Client, tanaka: Account) -> None:
    page = f"/admin/accounts/account/{tanaka.pk}/change/"
    assert 'name="ftp"' in operator.get(page).text
    data = {"ftp": "on", "pop_before_smtp": "on"}
    assert operator.post(page, data).status_code == 302
    tanaka.refresh_from_db()
    assert tanaka.ftp
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["ftp"] is True
