"""Mailbox passwords: what is accepted, and a hash that crypt(3) and Dovecot verify."""

import ctypes
import ctypes.util
import logging
import shutil
import subprocess

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.test import Client
from django.utils import translation
from pytest_django import Settings

from accounts import passwords
from accounts.models import Account, Domain
from mailhost import grammar
from propagation.models import Change
from tests import factories

SCHEMES = {"SHA512-CRYPT": 1000, "BLF-CRYPT": 4}
WORD = "correct-horse-battery"


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Each scheme in turn, at its least cost."""
    name = str(request.param)
    settings.MAILBOX_PASSWORD_SCHEME = name
    settings.MAILBOX_PASSWORD_ROUNDS = SCHEMES[name]
    return name


def crypt3(word: str, stored: str) -> str:
    """Return what the C library makes of a password with the salt of a hash; crypt(3)."""
    found = ctypes.util.find_library("crypt")
    assert found, "no libcrypt"
    crypt = ctypes.CDLL(found).crypt
    crypt.restype = ctypes.c_char_p
    answer = crypt(word.encode(), stored.encode())
    return bytes(answer).decode()


def test_crypt3_verifies_the_hash(scheme: str) -> None:
    text = passwords.make_hash(WORD).removeprefix(f"{{{scheme}}}")
    assert crypt3(WORD, text) == text
    assert crypt3("another", text) != text


def test_dovecot_verifies_the_hash(scheme: str) -> None:
    if not shutil.which("doveadm"):
        pytest.skip("no Dovecot here")
    stored = passwords.make_hash(WORD)
    test = ["doveadm", "-c", "/dev/null", "pw", "-t", stored, "-p"]
    assert subprocess.run([*test, WORD], capture_output=True, check=False).returncode == 0
    assert subprocess.run([*test, "another"], capture_output=True, check=False).returncode != 0


def test_hash_passes_the_mail_servers_grammar(scheme: str) -> None:
    grammar.check_password_hash(passwords.make_hash(WORD))


def test_hash_verifies_its_own_password_and_no_other(scheme: str) -> None:
    stored = passwords.make_hash(WORD)
    assert passwords.verify(WORD, stored)
    assert not passwords.verify("another", stored)


def test_hash_of_nobodys_password_is_known_by_its_form(scheme: str) -> None:
    nobodys = passwords.unusable_hash()
    grammar.check_password_hash(nobodys)
    assert passwords.is_unusable(nobodys)
    assert nobodys != passwords.unusable_hash()
    assert not passwords.verify("", nobodys)
    assert not passwords.is_unusable(passwords.make_hash(WORD))


def test_two_hashes_of_one_password_differ(scheme: str) -> None:
    assert passwords.make_hash(WORD) != passwords.make_hash(WORD)


def test_default_cost_passes_the_grammar(settings: Settings) -> None:
    settings.MAILBOX_PASSWORD_ROUNDS = 20_000
    grammar.check_password_hash(passwords.make_hash(WORD))


def test_unknown_scheme_is_a_setting_to_correct(settings: Settings) -> None:
    settings.MAILBOX_PASSWORD_SCHEME = "ARGON2ID"
    with pytest.raises(ImproperlyConfigured):
        passwords.make_hash(WORD)


def test_next_change_renews_the_scheme(tanaka: Account, settings: Settings) -> None:
    assert tanaka.password_hash.startswith("{SHA512-CRYPT}")
    settings.MAILBOX_PASSWORD_SCHEME, settings.MAILBOX_PASSWORD_ROUNDS = "BLF-CRYPT", 4
    tanaka.set_password("another-long-word")
    tanaka.refresh_from_db()
    assert tanaka.password_hash.startswith("{BLF-CRYPT}$2y$04$")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "ninechars",
        "1234567890",
        "password12",
        "x" * 65,
        "with space 1",
        "tab\tinside-it",
        "newline-in\nside",
        "nul-in\x00side-it",
        "全角文字のパスワード",
        "ｆｕｌｌ－ｗｉｄｔｈ",
    ],
)
def test_weak_and_unsendable_passwords_are_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        passwords.check(password)


def test_password_must_differ_from_the_name() -> None:
    with pytest.raises(ValidationError):
        passwords.check("Yamada.Hanako", name="yamada.hanako")


def test_generated_password_is_accepted_and_never_the_same() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        passwords.check(password)


def test_longest_password_is_hashed_whole(scheme: str) -> None:
    longest = "aB3-" * 16
    passwords.check(longest)
    assert not passwords.verify(longest[:-1] + "x", passwords.make_hash(longest))


# Where a hash never shows.


def test_hash_is_in_no_repr_and_no_log(
    com: Domain, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        account = factories.make_account(com, "suzuki")
        change = factories.pending(account.key)
        account.set_password("another-long-word")
        shown = f"{account!r} {change!r} {change} {account.record()!r} {change.entry()!r}"
        factories.settle()
    assert "$6$" not in shown
    assert "$6$" not in caplog.text
    assert "$6$" not in "".join(capsys.readouterr())


def test_change_that_ended_remembers_no_hash(com: Domain) -> None:
    account = factories.make_account(com, "suzuki")
    account.set_password("another-long-word")
    factories.settle()
    account.set_password("yet-another-word")
    factories.settle()
    for change in Change.objects.all().values_list():
        assert not any("$6$" in str(value) for value in change)


def test_open_change_keeps_its_hash_out_of_what_pages_read(com: Domain) -> None:
    account = factories.make_account(com, "suzuki")
    change = factories.pending(account.key)
    assert "$6$" in change.after_secret
    assert "$6$" not in f"{change.before} {change.after}"


def test_hash_is_on_no_page_of_the_admin(tanaka: Account, operator: Client) -> None:
    tanaka.set_password("another-long-word")
    change = factories.pending(tanaka.key)
    for path in (
        "accounts/account/",
        f"accounts/account/{tanaka.pk}/change/",
        "propagation/change/",
        f"propagation/change/{change.pk}/change/",
        f"accounts/domain/{tanaka.domain_id}/change/",
    ):
        response = operator.get(f"/admin/{path}")
        assert response.status_code == 200
        assert "$6$" not in response.text, path
        assert "$rounds" not in response.text, path


def test_hash_is_on_no_page_of_the_customer(tanaka: Account, sakura: Client) -> None:
    tanaka.set_password("another-long-word")
    for path in ("", "users/", f"users/{tanaka.pk}/password/", f"users/{tanaka.pk}/delete/"):
        response = sakura.get(f"/domains/example.com/{path}")
        assert response.status_code == 200
        assert "$6$" not in response.text


def test_too_short_a_password_is_told_the_length_once() -> None:
    with translation.override("ja"), pytest.raises(ValidationError) as caught:
        passwords.check("qz7#kv")
    [said] = caught.value.messages
    assert "10文字以上" in said
    assert "最低" not in said
