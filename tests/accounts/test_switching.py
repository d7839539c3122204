"""What each of an account's switches (FTP, SSH) has in common: who may switch it, and how."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Account, DeletedAccount, Domain
from accounts.roles import may_take_back
from forwarding import removal
from propagation.models import Change
from tests import factories
from tests.conftest import Cast

WHAT = Account.SWITCHES


@pytest.fixture(params=sorted(WHAT))
def switch(request: pytest.FixtureRequest) -> str:
    """The name of one of them."""
    return str(request.param)


@pytest.fixture
def path(tanaka: Account, switch: str) -> str:
    """The page of tanaka's."""
    return f"/domains/example.com/users/{tanaka.pk}/{switch}/"


def test_on_other_plans_it_is_ours_to_switch(
    switch: str, sakura: Client, path: str, tanaka: Account, cast: Cast
) -> None:
    cast.plan.self_service = False
    cast.plan.save()
    assert f"we switch {WHAT[switch]} on and off for you" in sakura.get(path).text
    assert sakura.post(path, {switch: "on"}).status_code == 403
    tanaka.refresh_from_db()
    assert not tanaka.switches()[switch]
    tanaka.switch(switch, True)
    tanaka.domain.refresh_from_db()
    assert not may_take_back(tanaka.domain, factories.pending(tanaka.key))


def test_account_that_is_being_deleted_is_not_switched(
    switch: str, sakura: Client, path: str, tanaka: Account
) -> None:
    tanaka.delete_later()
    assert "<button>" not in sakura.get(path).text.partition("<main")[2].partition("</form")[0]
    response = sakura.post(path, {switch: "on"})
    assert response.status_code == 422
    assert "This account is being deleted." in response.text


@pytest.mark.parametrize("method", ["get", "post", "head", "put"])
def test_another_customers_account_is_not_found(
    switch: str, sakura: Client, cast: Cast, method: str
) -> None:
    other = cast.other.fixed_account
    for domain in ("wakaba.example", "example.com"):
        page = f"/domains/{domain}/users/{other.pk}/{switch}/"
        assert getattr(sakura, method)(page).status_code in (404, 405)
    other.refresh_from_db()
    assert not other.switches()[switch]
    assert sakura.get(f"/domains/example.com/users/{uuid.uuid4()}/{switch}/").status_code == 404


def test_page_says_that_a_password_is_missing(switch: str, sakura: Client, cast: Cast) -> None:
    domain = Domain.objects.open(
        customer=cast.sakura, name="fresh.example", plan=cast.plan, server=cast.server
    )
    page = f"/domains/fresh.example/users/{domain.fixed_account_id}/{switch}/"
    assert "Nobody can log in yet" in sakura.get(page).text


def test_row_shows_which_account_has_it(switch: str, sakura: Client, tanaka: Account) -> None:
    mark = f'<span class="state locked">{WHAT[switch]}</span>'
    assert mark not in sakura.get("/domains/example.com/users/").text
    tanaka.switch(switch, True)
    assert sakura.get("/domains/example.com/users/").text.count(mark) == 1


def test_trash_keeps_it(switch: str, tanaka: Account) -> None:
    tanaka.switch(switch, True)
    factories.settle()
    removal.delete_account(tanaka)
    factories.settle()
    deleted = DeletedAccount.objects.get(pk=tanaka.pk)
    assert deleted.switches()[switch]
    account, _left_out = removal.restore_account(deleted)
    assert account.switches()[switch]
    assert getattr(account.record(), switch)


def test_operator_switches_it_by_command(switch: str, tanaka: Account) -> None:
    call_command(f"set_{switch}", "tanaka@example.com", "on")
    tanaka.refresh_from_db()
    assert tanaka.switches()[switch]
    call_command(f"set_{switch}", "tanaka@example.com", "off")
    assert not Change.objects.pending().exists()
    with pytest.raises(CommandError, match="No such account"):
        call_command(f"set_{switch}", "nobody@example.com", "on")
    with pytest.raises(CommandError):
        call_command(f"set_{switch}", "tanaka@example.com", "perhaps")
    tanaka.delete_later()
    with pytest.raises(CommandError, match="削除の手続き中"):
        call_command(f"set_{switch}", "tanaka@example.com", "on")
    with pytest.raises(ValidationError):
        tanaka.switch(switch, True)


def test_operator_switches_it_in_admin(switch: str, operator: Client, tanaka: Account) -> None:
    page = f"/admin/accounts/account/{tanaka.pk}/change/"
    assert f'name="{switch}"' in operator.get(page).text
    data = {switch: "on", "pop_before_smtp": "on"}
    assert operator.post(page, data).status_code == 302
    tanaka.refresh_from_db()
    assert tanaka.switches()[switch]
    change = factories.pending(tanaka.key)
    assert change.after is not None
    assert change.after[switch] is True


def test_what_the_operator_changed_stays_the_operators(switch: str, tanaka: Account) -> None:
    tanaka.limit(quota_bytes=7)
    tanaka.switch(switch, True)
    assert not may_take_back(tanaka.domain, factories.pending(tanaka.key))
