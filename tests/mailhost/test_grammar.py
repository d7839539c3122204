"""Nothing that passes a grammar can change the meaning of a map line, a query or a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailhost import grammar
from mailhost.maps import MapError, block
from mailhost.paths import Paths
from tests.mailhost import texts

CHECKS: dict[str, Callable[[str], None]] = {
    "mailbox_name": grammar.check_mailbox_name,
    "fixed_name": grammar.check_fixed_name,
    "any_mailbox_name": grammar.check_any_mailbox_name,
    "local_part": grammar.check_local_part,
    "domain": grammar.check_domain,
    "address": grammar.check_address,
    "destination": grammar.check_destination,
    "mailbox_id": grammar.check_mailbox_id,
    "password_hash": grammar.check_password_hash,
    "home": grammar.check_home,
}
GOOD = {
    "mailbox_name": "my.info-2_x",
    "fixed_name": "xn--wgv71a119e",
    "any_mailbox_name": "a" * 40,
    "local_part": "sales+2026",
    "domain": "example.co.jp",
    "address": "info@example.com",
    "destination": "First.O'Neil+x@Example".replace("Example", "example.com"),
    "mailbox_id": "0123456789abcdef" * 2,
    "password_hash": "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86,
    "home": "customers/sample1",
}
#: Texts of the alphabet that matters: letters, and all that is special to some file format.
NASTY = st.text(
    st.one_of(
        st.sampled_from("ab9.-_+@=&'~#%$|:;/\\\"!<>{}[]()*?, \t\r\n\0\x0b\x0c\x1c\x85\xa0\u2028"),
        st.characters(),
    ),
    max_size=300,
)
SAFE = re.compile(r"[A-Za-z0-9._+=&'~#@-]*")


def passes(check: Callable[[str], None], text: str) -> bool:
    try:
        check(text)
    except grammar.GrammarError:
        return False
    return True


@pytest.mark.parametrize("kind", CHECKS)
def test_good_text_passes(kind: str) -> None:
    CHECKS[kind](GOOD[kind])


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize(
    "spoil",
    [
        "{}\n",
        "\n{}",
        "{}\0",
        "{} ",
        " {}",
        "{}\r",
        "{}\u2028",
        "|{}",
        ":include:{}",
        "../{}",
        "{}/..",
        "/{}",
        '"{}"',
        "{}\\",
        "{}%",
        "{}!x",
        "{},x",
        "{};",
        "{}:x",
        "{}é",
        "{}１",
        "ａ{}",
        "{}٣",
        "{}\u200b",
        "{}\u00ad",
        "-{}",
    ],
)
def test_spoilt_text_is_refused(kind: str, spoil: str) -> None:
    assert not passes(CHECKS[kind], spoil.format(GOOD[kind]))


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("text", [None, 7, b"info", ["info"], ""])
def test_what_is_no_text_is_refused(kind: str, text: str) -> None:
    if (kind, text) != ("home", ""):
        assert not passes(CHECKS[kind], text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("mailbox_name", "a" * 33),
        ("mailbox_name", "a..b"),
        ("mailbox_name", "a."),
        ("mailbox_name", ".a"),
        ("mailbox_name", "_a"),
        ("mailbox_name", "Info"),
        ("fixed_name", "a" * 64),
        ("fixed_name", "a_b"),
        ("fixed_name", "a-"),
        ("local_part", "a" * 65),
        ("local_part", "a."),
        ("local_part", "a..b"),
        ("local_part", "+a"),
        ("domain", "example"),
        ("domain", "example.com."),
        ("domain", "Example.com"),
        ("domain", "a_b.example.com"),
        ("domain", "127.0.0.1:25"),
        ("domain", ".".join(["a" * 63] * 4) + ".com"),
        ("address", "@"),
        ("address", "a@b@example.com"),
        ("address", f"{'a' * 64}@{'.'.join(['b' * 63] * 3)}.com"),
        ("destination", "a.@example.com"),
        ("destination", "a..b@example.com"),
        ("destination", "@example.com"),
        ("destination", f"{'a' * 65}@example.com"),
        ("destination", "a@EXAMPLE.com"),
        ("destination", "a@[127.0.0.1]"),
        ("destination", "#a@example.com"),
        ("destination", "=a@example.com"),
        ("mailbox_id", "A" * 32),
        ("mailbox_id", "a" * 31),
        ("password_hash", "{PLAIN}secret"),
        ("password_hash", "{CRYPT}$6$saltsalt$" + "a" * 86),
        ("password_hash", "{SHA512-CRYPT}$6$salt:salt$" + "a" * 86),
        ("password_hash", "{BLF-CRYPT}$2y$31$" + "a" * 53),
        ("home", "a//b"),
        ("home", "a/.b"),
        ("home", "a/"),
    ],
)
def test_limits_and_near_misses_are_refused(kind: str, text: str) -> None:
    assert not passes(CHECKS[kind], text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("mailbox_name", "a" * 32),
        ("mailbox_name", "0"),
        ("mailbox_name", "a_"),
        ("local_part", "_dmarc"),
        ("local_part", "a" * 64),
        ("address", "@example.com"),
        ("destination", "A.b+c=d&e'f~g#h-i@sub.example.com"),
        ("password_hash", "{SHA512-CRYPT}$6$rounds=5000$saltsalt$" + "./Az09" * 14 + "ab"),
        ("password_hash", "{BLF-CRYPT}$2y$10$" + "a" * 53),
        ("home", ""),
        ("home", "sample1"),
    ],
)
def test_limits_are_within(kind: str, text: str) -> None:
    CHECKS[kind](text)


@pytest.mark.parametrize("kind", [k for k in CHECKS if k not in ("password_hash", "home")])
@given(text=NASTY)
@example("a\n")
@example("a@b.cd\n")
def test_what_passes_is_plain_ascii(kind: str, text: str) -> None:
    if passes(CHECKS[kind], text):
        assert SAFE.fullmatch(text)
        assert ".." not in text


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [
        ("mailbox_name", texts.mailbox_names),
        ("fixed_name", texts.labels),
        ("local_part", texts.local_parts),
        ("domain", texts.domains),
        ("destination", texts.destinations),
        ("mailbox_id", texts.mailbox_ids),
        ("home", texts.homes.filter(bool)),
    ],
)
@given(data=st.data())
def test_what_passes_is_one_word_of_one_map_line(
    kind: str, drawn: st.SearchStrategy[str], data: st.DataObject
) -> None:
    text = data.draw(drawn)
    CHECKS[kind](text)
    assert text.split() == [text]
    assert "," not in text
    # Postfix: a line that begins with # is a comment, one that begins with a blank goes on.
    assert text[0] not in '#-/|:\\" \t'


@given(NASTY)
def test_only_ids_become_paths(text: str) -> None:
    paths = Paths(Path("/srv/mail1"))
    try:
        home = paths.home(text)
    except grammar.GrammarError:
        return
    assert home == Path("/srv/mail1/mail") / text[:2] / text
    assert ".." not in home.parts


@given(key=NASTY, value=NASTY, name=st.sampled_from(["domains", "mailboxes", "aliases", "refused"]))
@example("a@b.cd", "a@b.cd\nx@y.zz z@outside.test", "aliases")
@example("a@b.cd", "|/bin/sh", "aliases")
@example("a@b.cd", ":include:/etc/passwd", "aliases")
@example("a@b.cd", "../x@b.cd", "aliases")
@example("a@b.cd", "ａ@b.cd", "aliases")
@example("a@b.cd", "OK", "refused")
@example("a@b.cd x", "a@b.cd", "mailboxes")
@example("#a@b.cd", "#a@b.cd", "mailboxes")
@example("", "", "domains")
@example("a@b.cd\tx@y.zz\nb@b.cd", "x@y.zz", "aliases")
@example("a@b.cd x@y.zz,", "x@y.zz", "aliases")
def test_rendered_line_is_one_line_or_an_error(key: str, value: str, name: str) -> None:
    try:
        text = block(name, [(key, value)])
    except MapError:
        return
    assert text == f"{key}\t{value}\n"
    assert SAFE.fullmatch(key)
    assert not key.startswith("#")
    words = re.split(", ", value) if name == "aliases" else [value]
    assert name == "refused" or all(SAFE.fullmatch(word) for word in words)
    assert name != "refused" or re.fullmatch(r"550 5\.1\.1 [A-Za-z ]+", value)


@given(st.lists(st.tuples(texts.local_parts, texts.destinations)))
def test_every_good_alias_can_be_rendered(pairs: list[tuple[str, str]]) -> None:
    rows = [(f"{local_part}@example.com", destination) for local_part, destination in pairs]
    assert block("aliases", rows).count("\n") == len(rows)


def test_one_bad_line_among_many_is_named() -> None:
    rows = [(f"a{n}@example.com", "b@example.com") for n in range(4999)]
    with pytest.raises(MapError, match=r"x@example\.com\\t\|sh"):
        block("aliases", [*rows, ("x@example.com", "|sh"), *rows])


def test_long_text_is_refused_quickly() -> None:
    for kind, check in CHECKS.items():
        assert not passes(check, "a." * 100_000 + "@"), kind
        assert not passes(check, "a@" * 100_000), kind
    with pytest.raises(MapError):
        block("aliases", [("a@example.com", "a@example.com, " * 20_000 + "!")])
