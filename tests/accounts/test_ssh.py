"""Switching reading mail by SSH on and off for an account."""

from __future__ import annotations

import uuid

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from time_machine import TimeMachineFixture

from accounts.models import Account, DeletedAccount
from accounts.roles import may_take_back
from accounts.sources import mailboxes
from forwarding import removal
from propagation.models import Change
from tests import factories
from tests.conftest import Cast


@pytest.fixture
def path(tanaka: Account) -> str:
    """The page of tanaka's SSH."""
    return f"/domains/example.com/users/{tanaka.pk}/ssh/"


def test_page_says_what_to_type(sakura: Client, path: str, settings: Settings) -> None:
    settings.SSH_PORT_SHOWN = 2022
    text = sakura.get(path).text
    assert "SSH is switched off" in text
    assert f"ssh -p 2022 tanaka@{factories.SERVER}" in text
    settings.SSH_PORT_SHOWN = 0
    text = sakura.get(path).text
    assert "ssh -p" not in text
    assert "SSH is not offered at present." in text


def test_page_is_in_japanese_too(sakura: Client, path: str) -> None:
    sakura.post("/language/", {"language": "ja"})
    text = sakura.get(path, HTTP_ACCEPT_LANGUAGE="ja").text
    assert "SSH を有効にする" in text
    assert "ターミナル" in text


def test_switch_is_a_change_that_waits(
    sakura: Client, path: str, tanaka: Account, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)
    factories.answer()
    text = sakura.post(path, {"ssh": "on"}, follow=True).text
    assert "SSH for tanaka will be on from about 14:32." in text
    tanaka.refresh_from_db()
    assert tanaka.ssh
    assert not tanaka.ftp
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["ssh"] is True
    assert mailboxes.describe(change) == "Switch on SSH for tanaka"
    factories.settle()
    text = sakura.post(path, {"ssh": "off"}, follow=True).text
    assert "Open connections end then." in text
    assert mailboxes.describe(factories.pending(tanaka.key)) == "Switch off SSH for tanaka"


def test_owner_may_take_it_back_along_with_ftp(sakura: Client, path: str, tanaka: Account) -> None:
    sakura.post(path, {"ssh": "on"})
    tanaka.refresh_from_db()
    tanaka.switch("ftp", True)
    change = factories.pending(tanaka.key)
    assert mailboxes.describe(change) == "Change the account tanaka"
    assert may_take_back(tanaka.domain, change)
    sakura.post(f"/domains/example.com/changes/{change.pk}/cancel/")
    tanaka.refresh_from_db()
    assert (tanaka.ssh, tanaka.ftp) == (False, False)
    assert not Change.objects.pending().exists()


def test_what_the_operator_changed_stays_the_operators(tanaka: Account) -> None:
    tanaka.limit(quota_bytes=7)
    tanaka.switch("ssh", True)
    assert not may_take_back(tanaka.domain, factories.pending(tanaka.key))


def test_on_other_plans_it_is_ours_to_switch(
    sakura: Client, path: str, tanaka: Account, cast: Cast
) -> None:
    cast.plan.self_service = False
    cast.plan.save()
    assert "we switch SSH on and off for you" in sakura.get(path).text
    assert sakura.post(path, {"ssh": "on"}).status_code == 403
    tanaka.refresh_from_db()
    assert not tanaka.ssh


def test_account_that_is_being_deleted_is_not_switched(
    sakura: Client, path: str, tanaka: Account
) -> None:
    tanaka.delete_later()
    response = sakura.post(path, {"ssh": "on"})
    assert response.status_code == 422
    assert "This account is being deleted." in response.text


@pytest.mark.parametrize("method", ["get", "post", "head", "put"])
def test_another_customers_account_is_not_found(sakura: Client, cast: Cast, method: str) -> None:
    other = cast.other.fixed_account
    for domain in ("wakaba.example", "example.com"):
        page = f"/domains/{domain}/users/{other.pk}/ssh/"
        assert getattr(sakura, method)(page).status_code in (404, 405)
    other.refresh_from_db()
    assert not other.ssh
    assert sakura.get(f"/domains/example.com/users/{uuid.uuid4()}/ssh/").status_code == 404


def test_row_shows_which_account_has_it(sakura: Client, tanaka: Account) -> None:
    mark = '<span class="state locked">SSH</span>'
    assert mark not in sakura.get("/domains/example.com/users/").text
    tanaka.switch("ssh", True)
    assert sakura.get("/domains/example.com/users/").text.count(mark) == 1


def test_trash_keeps_it(tanaka: Account) -> None:
    tanaka.switch("ssh", True)
    factories.settle()
    removal.delete_account(tanaka)
    factories.settle()
    deleted = DeletedAccount.objects.get(pk=tanaka.pk)
    assert deleted.ssh
    account, _left_out = removal.restore_account(deleted)
    assert account.record().ssh


def test_operator_switches_it_by_command(tanaka: Account) -> None:
    call_command("set_ssh", "tanaka@example.com", "on")
    tanaka.refresh_from_db()
    assert tanaka.ssh
    call_command("set_ssh", "tanaka@example.com", "off")
    assert not Change.objects.pending().exists()
    tanaka.delete_later()
    with pytest.raises(CommandError, match="削除の手続き中"):
        call_command("set_ssh", "tanaka@example.com", "on")


def test_operator_switches_it_in_admin(operator: Client, tanaka: Account) -> None:
    page = f"/admin/accounts/account/{tanaka.pk}/change/"
    data = {"ssh": "on", "pop_before_smtp": "on"}
    assert operator.post(page, data).status_code == 302
    tanaka.refresh_from_db()
    assert tanaka.ssh
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after["ssh"] is True
