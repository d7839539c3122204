"""Switching an account's FTP on and off."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings
from time_machine import TimeMachineFixture

from accounts.models import Account, Domain
from accounts.roles import may_take_back
from accounts.sources import mailboxes
from propagation.cancel import cancel
from propagation.models import Change
from tests import factories


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
