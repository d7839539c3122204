"""What may be typed as a forwarding address or as its destination."""

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation
from pytest_django import Settings

from forwarding.addresses import clean_destination, clean_destinations, clean_local_part


@pytest.mark.parametrize(
    "typed", ["info", "postmaster", "root", "a+b", "_dmarc", "1", "x" * 64, "my-info_2", "a_"]
)
def test_any_ordinary_name_may_be_forwarded(typed: str) -> None:
    assert clean_local_part(f" {typed.upper()} ") == typed


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "x" * 65,
        ".a",
        "a.",
        "a..b",
        "+a",
        "-a",
        "a b",
        "a\nb",
        "a\x00b",
        "|cmd",
        ":include:/etc/passwd",
        "/etc/passwd",
        "../a",
        "a@b",
        "a,b",
        'a"b',
        "ｉｎｆｏ",
        "い",
        "\u212aelvin",
    ],
)
def test_names_that_mean_something_else_are_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        clean_local_part(typed)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" info@example.org ", "info@example.org"),
        ("Taro.Yamada@EXAMPLE.org", "Taro.Yamada@example.org"),
        ("a+b=c&d'e~f#g-h@example.org", "a+b=c&d'e~f#g-h@example.org"),
        ("info@日本語.jp", "info@xn--wgv71a119e.jp"),
        ("info@example.org.", "info@example.org"),
        ("x@mail.test", "x@mail.test"),
    ],
)
def test_destination_is_stored_with_its_domain_in_ascii(typed: str, stored: str) -> None:
    assert clean_destination(typed) == stored


@pytest.mark.parametrize("typed", ["sato＠ｅｘａｍｐｌｅ．ｏｒｇ", "ｓａｔｏ@example.org"])
def test_full_width_typing_is_told_from_a_missing_half(typed: str) -> None:
    with translation.override("en"), pytest.raises(ValidationError, match="use half-width"):
        clean_destination(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "info",
        "@example.org",
        "info@",
        "info@localhost",
        "info@[127.0.0.1]",
        "info@example",
        "a@b@example.org",
        '"a b"@example.org',
        "a b@example.org",
        "a@exa mple.org",
        "a,b@example.org",
        "a@example.org,b@example.org",
        "a@example.org b@example.org",
        "a\n@example.org",
        "a@example.org\nb@example.org",
        "a\x00@example.org",
        "|cmd@example.org",
        "|/bin/sh",
        "/dev/null",
        ":include:/etc/passwd",
        ":include:/x@example.org",
        "../a@example.org",
        "a@../example.org",
        "a%b@example.org",
        "a!b@example.org",
        "<a@example.org>",
        "Taro <a@example.org>",
        "ｉｎｆｏ@example.org",
        "info＠example.org",
        "info@ｅｘａｍｐｌｅ.org",
        "a..b@example.org",
        ".a@example.org",
        "a.@example.org",
        f"{'x' * 65}@example.org",
        f"a@{'x' * 64}.org",
        f"{'x' * 60}@{'y' * 60}.{'y' * 60}.{'y' * 60}.{'y' * 20}.org",
    ],
)
def test_destination_that_mail_cannot_be_sent_to_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError) as refused:
        clean_destination(typed)
    assert refused.value.messages


def test_blank_boxes_and_repetitions_do_not_count() -> None:
    typed = ["", " a@example.org", "A@Example.org", "b@example.org", " "]
    assert clean_destinations(typed) == ["a@example.org", "b@example.org"]


def test_every_wrong_destination_is_named() -> None:
    with pytest.raises(ValidationError) as refused:
        clean_destinations(["one", "two@", "three@example.org"])
    assert ["one" in word or "two@" in word for word in refused.value.messages] == [True, True]


def test_no_destination_is_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        clean_destinations(["", " "])
    assert refused.value.code == "none"


def test_more_destinations_than_the_setting_allows_are_refused(settings: Settings) -> None:
    settings.DESTINATIONS_PER_ADDRESS = 3
    typed = [f"user{number}@example.org" for number in range(4)]
    assert clean_destinations(typed[:3]) == typed[:3]
    with pytest.raises(ValidationError) as refused:
        clean_destinations(typed)
    assert refused.value.code == "many"
