"""Giving a mailbox another password."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from time_machine import TimeMachineFixture

from accounts import passwords
from accounts.models import Account
from propagation.models import Change
from tests import factories

NEW = "another-long-word"


@pytest.fixture
def path(tanaka: Account) -> str:
    """The page of tanaka's password."""
    return f"/domains/example.com/users/{tanaka.pk}/password/"


def test_page_says_from_when_the_new_password_counts(
    sakura: Client, path: str, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to("2026-11-25T14:17:00+09:00", tick=False)
    factories.answer()
    assert "The new password takes effect at about 14:32." in sakura.get(path).text
    text = sakura.post(path, {"password": NEW}, follow=True).text
    assert "The new password of tanaka takes effect at about 14:32." in text
    assert "Until then the present one works." in text


def test_new_password_is_on_its_way_to_the_server(
    sakura: Client, path: str, tanaka: Account
) -> None:
    sakura.post(path, {"password": NEW})
    tanaka.refresh_from_db()
    change = factories.pending(tanaka.key)
    assert passwords.verify(NEW, tanaka.password_hash)
    assert change.after_secret == tanaka.password_hash
    assert change.renews_password


@pytest.mark.parametrize("password", ["short", "tanaka", "password12", "全角文字のパスワード", ""])
def test_refused_password_is_kept_in_the_form(
    sakura: Client, path: str, tanaka: Account, password: str
) -> None:
    response = sakura.post(path, {"password": password})
    assert response.status_code == 422
    assert f'value="{password}"' in response.text
    assert 'class="error"' in response.text
    assert not Change.objects.pending().exists()


def test_generated_password_is_shown_and_not_yet_set(
    sakura: Client, path: str, tanaka: Account
) -> None:
    text = sakura.post(path, {"generate": "1", "password": ""}).text
    assert re.search(r'name="password" type="text" value="\w{16}"', text)
    assert not Change.objects.pending().exists()


def test_account_that_is_being_deleted_gets_no_password(
    sakura: Client, path: str, tanaka: Account
) -> None:
    tanaka.delete_later()
    response = sakura.post(path, {"password": NEW})
    assert response.status_code == 422
    assert "This account is being deleted." in response.text


def test_fixed_account_may_get_a_password(sakura: Client, tanaka: Account) -> None:
    fixed = tanaka.domain.fixed_account
    path = f"/domains/example.com/users/{fixed.pk}/password/"
    assert sakura.post(path, {"password": NEW}).status_code == 302
