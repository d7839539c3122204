"""Switching reading mail by SSH on and off for an account."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings
from time_machine import TimeMachineFixture

from accounts.models import Account
from accounts.roles import may_take_back
from accounts.sources import mailboxes
from propagation.models import Change
from tests import factories


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
