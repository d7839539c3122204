"""Nothing that passes a form can change the meaning of a map line or of a path."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from hypothesis import example, given
from hypothesis import strategies as st

from accounts import names, passwords
from accounts.forms import MailboxPasswordField
from forwarding.addresses import clean_destination, clean_destinations, clean_local_part
from forwarding.forms import DestinationsField
from mailhost.records import Address, HostedDomain, Mailbox

HASH = "{SHA512-CRYPT}$6$rounds=1000$abcdefgh$" + "x" * 86
# A map line is "KEY VALUE"; a value is a list at commas and spaces, "|", ":" and "/" are other
# kinds of delivery, "#" begins a comment only at the start of a line (postmap(1), aliases(5)).
DANGEROUS = re.compile(r"[\x00-\x20\x7f-\U0010ffff,|:;/\\\"<>()\[\]%!$`*?{}^]")
NASTY = [
    "\n",
    "\r",
    "\x00",
    " ",
    "\t",
    "|cmd",
    ":include:",
    "../",
    "/",
    "\\",
    '"',
    "'",
    ",",
    "@",
    "%",
    "!",
    "..",
    ".",
    "-",
    "_",
    "+",
    "#",
    "ｉ",
    "＠",
    "．",
    "\u2028",
    "\u212a",
    "\u0130",
    "xn--",
    "info",
    "example.com",
    "A",
    "9",
]
PIECES = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=5).map("".join)
ALMOST = st.from_regex(r"[a-z0-9._+-]{1,66}(@[a-z0-9.-]{1,70})?\n?", fullmatch=True)
TEXTS = PIECES | ALMOST | st.text(max_size=70)


@given(TEXTS)
@example("info\n")
@example("ı")
def test_mailbox_name_that_passes_is_only_a_name(text: str) -> None:
    try:
        name = names.clean_mailbox_name(text)
    except ValidationError:
        return
    assert name == text.strip().lower()
    assert not DANGEROUS.search(name)
    assert 1 <= len(name) <= 32
    assert ".." not in name
    assert name[0] not in ".-_+"
    assert name not in names.RESERVED
    # The mail server, which judges once more, agrees.
    Mailbox(name, "example.com", "0" * 32, HASH)


@given(TEXTS)
def test_local_part_that_passes_is_only_a_local_part(text: str) -> None:
    try:
        local_part = clean_local_part(text)
    except ValidationError:
        return
    assert local_part == text.strip().lower()
    assert not DANGEROUS.search(local_part)
    assert "@" not in local_part
    assert local_part[0] not in ".-+#"
    record = Address(local_part, "example.com", ("x@example.org",))
    assert record.key == f"address:{local_part}@example.com"


@given(TEXTS)
@example("example.com\n")
@example("ｅxample.com")
def test_domain_that_passes_is_only_a_domain(text: str) -> None:
    try:
        name = names.clean_domain_name(text)
    except ValidationError:
        return
    assert re.fullmatch(r"[a-z0-9.-]+", name)
    assert not name.startswith((".", "-"))
    assert ".." not in name
    assert names.clean_domain_name(name) == name
    if text.strip().isascii():
        assert name == text.strip().lower().rstrip(".")
    HostedDomain(name, f"x@{name}")


@given(st.tuples(TEXTS, TEXTS).map("@".join) | TEXTS)
@example("x@example.org\n")
@example("#x@example.org")
def test_destination_that_passes_is_one_address(text: str) -> None:
    try:
        address = clean_destination(text)
    except ValidationError:
        return
    local_part, _at, domain = address.rpartition("@")
    assert address.count("@") == 1
    assert not DANGEROUS.search(address)
    assert local_part[0] not in ".-+#"
    assert local_part == text.strip().rpartition("@")[0]
    assert names.clean_domain_name(domain) == domain
    assert clean_destination(address) == address
    Address("info", "example.com", (address,))


@given(st.lists(TEXTS | st.just("x@example.org") | st.just("X@Example.org"), max_size=6))
def test_destinations_that_pass_are_a_record(lines: list[str]) -> None:
    for clean in (clean_destinations, DestinationsField().clean):
        try:
            found = clean(lines)
        except ValidationError:
            continue
        assert len({address.lower() for address in found}) == len(found) <= len(lines)
        Address("info", "example.com", tuple(found))


@given(TEXTS)
def test_password_that_passes_can_be_sent_by_a_mail_program(text: str) -> None:
    for check in (passwords.check, MailboxPasswordField().clean):
        try:
            check(text)
        except ValidationError:
            continue
        assert re.fullmatch(r"[\x21-\x7e]{10,64}", text)


@given(st.text(alphabet=st.characters(min_codepoint=0x80), min_size=1, max_size=20))
def test_nothing_but_ascii_passes_as_a_name(text: str) -> None:
    for clean in (names.clean_mailbox_name, clean_local_part):
        try:
            found = clean(f"a{text}b")
        except ValidationError:
            continue
        raise AssertionError(f"{text!a} became {found!r}")
