"""What is pasted as members: every address is found, and whatever else is named by its line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarding.pasted import parse


@pytest.mark.parametrize(
    "text",
    [
        "a@example.org\nb@example.org",
        "a@example.org, b@example.org",
        "a@example.org;b@example.org;",
        "a@example.org b@example.org",
        "a@example.org、b@example.org",
        "a@example.org\tb@example.org\r\n",
        "Ann <a@example.org>, 山田 太郎 <b@example.org>",
        '"Doe, Ann" <a@example.org>; "b@example.org" <b@example.org>',
        "<a@example.org> <b@example.org>",
        "Ann <a@example.org> Bob <b@example.org>",
        "<mailto:a@example.org>\n\n  b@EXAMPLE.org  \nB@example.org",
        "山田太郎\ta@example.org\nBob Doe,b@example.org",
        "・a@example.org\n - b@example.org",
        "● 山田太郎 <a@example.org>\n* b@example.org",
    ],
)
def test_any_usual_way_of_writing_addresses_is_read(text: str) -> None:
    pasted = parse(text)
    assert (pasted.addresses, pasted.wrong) == (["a@example.org", "b@example.org"], [])


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("a@example.org\nnonsense", 2, "nonsense"),
        ("a@example.org, taro.example.org", 1, "taro.example.org"),
        ("ta ro@example.org", 1, "ta ro@example.org"),
        ("taro @example.org", 1, "taro @example.org"),
        ("山田太郎", 1, "山田太郎"),
        ("ｔａｒｏ＠example.org", 1, "ｔａｒｏ＠example.org"),
        ("Ann <a@example.org", 1, "Ann <a@example.org"),
        ("b@example.org <a@example.org>", 1, "b@example.org <a@example.org>"),
        ("a@example.org\n" + "x" * 500, 2, "x" * 500),
        ("a@@example.org", 1, "a@@example.org"),
        ("|cmd@example.org", 1, "|cmd@example.org"),
        ("a\x00@example.org", 1, "a\x00@example.org"),
    ],
)
def test_what_is_no_address_is_named_by_its_line(text: str, line: int, wrong: str) -> None:
    found = parse(text).wrong
    assert [(one.line, one.text) for one in found] == [(line, wrong)]
    assert found[0].reason


ADDRESSES = st.from_regex(r"\A[a-z][a-z0-9._+-]{0,8}[a-z0-9]@[a-z]{1,8}\.(org|jp)\Z").filter(
    lambda text: ".." not in text
)
SEPARATORS = st.sampled_from(["\n", ",", ";", ", ", "\r\n", "\t", "、", " ;\n"])
NAMES = st.sampled_from(["{}", "<{}>", "Ann <{}>", '"Doe, Ann" <{}>', "山田 太郎 <{}>"])


@pytest.mark.long
@given(st.lists(st.tuples(ADDRESSES, NAMES, SEPARATORS), max_size=30))
def test_addresses_are_found_however_they_are_written(written: list[tuple[str, str, str]]) -> None:
    text = "".join(name.format(address) + separator for address, name, separator in written)
    pasted = parse(text)
    assert pasted.wrong == []
    assert pasted.addresses == list(dict.fromkeys(address for address, _, _ in written))


@given(st.text(alphabet='ab@.<>",;: \n\t山＠', max_size=60))
def test_nothing_with_an_at_sign_is_passed_over(text: str) -> None:
    for line in text.splitlines():
        pasted = parse(line)
        # A name in quotes is no address, whatever it says.
        if re.search("[@＠]", re.sub('"[^"]*"', "", line)):
            assert pasted.addresses or pasted.wrong
        assert all(one.reason for one in pasted.wrong)
