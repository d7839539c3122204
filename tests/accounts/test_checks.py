"""Settings of mailbox passwords that would fail later are named at the start."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from accounts import passwords
from mailhost import grammar

WORD = "correct-horse-battery"


def found(settings: Settings, scheme: str, rounds: int) -> list[tuple[str | None, str | None]]:
    """Return the id and the hint of what Django's check says of these settings."""
    settings.MAILBOX_PASSWORD_SCHEME, settings.MAILBOX_PASSWORD_ROUNDS = scheme, rounds
    mine = [said for said in run_checks() if (said.id or "").startswith("accounts.")]
    return [(said.id, said.hint) for said in mine]


@pytest.mark.parametrize("scheme", ["", "ARGON2ID", "PLAIN", "sha512-crypt"])
def test_scheme_that_the_servers_do_not_share_is_named_with_those_that_they_do(
    settings: Settings, scheme: str
) -> None:
    assert found(settings, scheme, 0) == [("accounts.E001", "Use one of SHA512-CRYPT, BLF-CRYPT.")]


@pytest.mark.parametrize(
    ("scheme", "rounds", "hint"),
    [
        ("SHA512-CRYPT", 999, "SHA512-CRYPT takes 1000 to 999999."),
        ("SHA512-CRYPT", 1_000_000, "SHA512-CRYPT takes 1000 to 999999."),
        ("SHA512-CRYPT", -1, "SHA512-CRYPT takes 1000 to 999999."),
        ("BLF-CRYPT", 3, "BLF-CRYPT takes 4 to 16."),
        ("BLF-CRYPT", 20_000, "BLF-CRYPT takes 4 to 16."),
    ],
)
def test_cost_outside_its_schemes_range_is_named_with_the_range(
    settings: Settings, scheme: str, rounds: int, hint: str
) -> None:
    assert found(settings, scheme, rounds) == [("accounts.E002", hint)]


@pytest.mark.parametrize(
    ("scheme", "rounds"),
    [
        ("SHA512-CRYPT", 0),
        ("SHA512-CRYPT", 1000),
        ("SHA512-CRYPT", 999_999),
        ("BLF-CRYPT", 0),
        ("BLF-CRYPT", 4),
        ("BLF-CRYPT", 16),
    ],
)
def test_cost_within_the_range_is_accepted(settings: Settings, scheme: str, rounds: int) -> None:
    assert found(settings, scheme, rounds) == []


def test_panel_does_not_start_with_such_a_setting(settings: Settings) -> None:
    settings.MAILBOX_PASSWORD_SCHEME = "PLAIN"
    with pytest.raises(SystemCheckError, match=r"accounts\.E001"):
        call_command("check")


@pytest.mark.parametrize(
    ("scheme", "start"),
    [("SHA512-CRYPT", "{SHA512-CRYPT}$6$rounds=10000$"), ("BLF-CRYPT", "{BLF-CRYPT}$2y$10$")],
)
def test_each_scheme_has_a_usual_cost_of_its_own(
    settings: Settings, scheme: str, start: str
) -> None:
    settings.MAILBOX_PASSWORD_SCHEME, settings.MAILBOX_PASSWORD_ROUNDS = scheme, 0
    stored = passwords.make_hash(WORD)
    assert stored.startswith(start)
    grammar.check_password_hash(stored)
    assert passwords.verify(WORD, stored)
    assert not passwords.verify("another", stored)
