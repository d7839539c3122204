"""What a mailbox or a domain may be called."""

import pytest
from django.core.exceptions import ValidationError

from accounts import names

DANGEROUS = [
    "in fo",
    "info\n",
    "in\nfo",
    "in\x00fo",
    "|cmd",
    "/etc/passwd",
    "../info",
    "..",
    ".",
    ":include:/etc/passwd",
    "a:b",
    "a%d",
    "a!b",
    'a"b',
    "a'b",
    "a\\b",
    "a,b",
    "a;b",
    "$(id)",
    "a\tb",
    "a\u2028b",
    "ｉｎｆｏ",  # full-width letters
    "いんふぉ",
    "inf\u00f6",
    "١٢٣",  # digits, but not ours
    "\u212a",  # the Kelvin sign: its lower case is an ASCII k
    "a\u200bb",
]


@pytest.mark.parametrize(
    "name", ["a", "0", "info", "my.info", "my-info", "my_info", "a_", "x" * 32]
)
def test_ordinary_names_pass(name: str) -> None:
    assert names.clean_mailbox_name(name) == name


def test_name_is_stored_in_lower_case_and_without_the_spaces_around_it() -> None:
    assert names.clean_mailbox_name("  Info ") == "info"


@pytest.mark.parametrize("name", ["", "x" * 33, ".a", "_a", "-a", "a.", "a..b", "info+tag"])
def test_names_of_another_form_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        names.clean_mailbox_name(name)


@pytest.mark.parametrize("name", [name for name in DANGEROUS if name.strip() == name])
def test_names_that_mean_something_to_a_file_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        names.clean_mailbox_name(name)


@pytest.mark.parametrize("name", ["root", "postmaster", "ABUSE", "mailer-daemon", "www-data"])
def test_reserved_names_are_refused_for_mailboxes(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        names.clean_mailbox_name(name)
    assert refused.value.code == "reserved"


def test_full_width_letters_are_named_as_the_fault() -> None:
    with pytest.raises(ValidationError) as refused:
        names.clean_mailbox_name("ｉｎｆｏ")
    assert refused.value.code == "full_width"


def test_an_address_is_no_name() -> None:
    with pytest.raises(ValidationError) as refused:
        names.clean_mailbox_name("info@example.com")
    assert refused.value.code == "at"


def test_international_domain_is_stored_in_ascii_and_shown_readable() -> None:
    stored = names.clean_domain_name("日本語.Example.JP.")
    assert stored == "xn--wgv71a119e.example.jp"
    assert names.readable_domain(stored) == "日本語.example.jp"
    assert names.readable_address(f"info@{stored}") == "info@日本語.example.jp"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "com",
        "-a.com",
        "a-.com",
        "a..com",
        "a_b.com",
        "xn--a.com",
        f"{'x' * 64}.com",
        f"{'a.' * 127}com",
        "ex ample.com",
        "example.com\x00",
        "exam\nple.com",
        "a/b.com",
    ],
)
def test_domains_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        names.clean_domain_name(name)


def test_longest_label_and_longest_domain_pass() -> None:
    label = "x" * 63
    assert names.clean_domain_name(f"{label}.com") == f"{label}.com"
    longest = f"{label}.{label}.{'x' * 61}"
    assert len(longest) == names.LONGEST_DOMAIN
    assert names.clean_domain_name(longest) == longest
    with pytest.raises(ValidationError):
        names.clean_domain_name(f"x{longest}"[:190])
