"""A record that exists passed its grammar, and survives the way through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.records import (
    Address,
    Entry,
    HostedDomain,
    Mailbox,
    Record,
    RecordError,
    check_key,
    record_from,
)
from tests.mailhost import texts

HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
BOX = Mailbox("info", "example.com", "0" * 32, HASH, 10)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Mailbox,
        texts.mailbox_names,
        texts.domains,
        texts.mailbox_ids,
        st.just(HASH),
        st.integers(0, 2**63 - 1),
    ),
    st.builds(
        Address,
        st.one_of(st.just(""), texts.local_parts),
        texts.domains,
        st.lists(texts.destinations, min_size=1, max_size=5, unique_by=str.lower).map(tuple),
    ),
    st.builds(HostedDomain, texts.domains, st.just("info@example.com"), texts.homes),
)


@given(records)
def test_record_comes_back_from_its_key_and_value(record: Record) -> None:
    value = json.loads(json.dumps(record.value()))
    assert record_from(record.key, value) == record
    check_key(record.key)
    Entry(record.key, 1, record).check()
    Entry(record.key, 1, None).check()


@pytest.mark.parametrize(
    "bad",
    [
        "in\nfo",
        "info\n",
        "in\0fo",
        "|cmd",
        ":include:x",
        "../x",
        "ｉｎｆｏ",
        "",
        "a b",
        "Info",
        'in"fo',
        "in'fo",
        None,
        7,
    ],
)
def test_bad_text_makes_no_record(bad: Any) -> None:
    for make in (
        lambda: Mailbox(bad, "example.com", "0" * 32, HASH),
        lambda: Mailbox("info", bad, "0" * 32, HASH),
        lambda: Mailbox("info", "example.com", bad, HASH),
        lambda: Mailbox("info", "example.com", "0" * 32, bad),
        lambda: Address("x", bad, ("a@example.com",)),
        lambda: Address("x", "example.com", (bad,)),
        lambda: Address("x", "example.com", ("a@example.com", bad)),
        lambda: HostedDomain(bad, "a@example.com"),
        lambda: HostedDomain("example.com", bad),
    ):
        with pytest.raises(RecordError):
            make()
    if bad != "":  # the catch-all
        with pytest.raises(RecordError):
            Address(bad, "example.com", ("a@example.com",))


@pytest.mark.parametrize(
    "destinations",
    [
        (),
        ["a@example.com"],
        ("a@example.com", "A@example.com"),
        tuple(f"a{n}@b.cd" for n in range(1001)),
    ],
)
def test_destinations_are_some_and_different(destinations: Any) -> None:
    with pytest.raises(RecordError) as caught:
        Address("info", "example.com", destinations)
    assert caught.value.kind == "destinations"


@pytest.mark.parametrize("quota", [-1, 2**63, 1.5, True, "10", None])
def test_quota_is_a_number_of_bytes(quota: Any) -> None:
    with pytest.raises(RecordError):
        Mailbox("info", "example.com", "0" * 32, HASH, quota)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("mailbox:other", {}),
        ("address:info@example.com", {}),
        ("mailbox:info", {"name": "other"}),
        ("mailbox:info", {"more": 1}),
        ("mailbox:info", {"quota_bytes": "10"}),
        ("nonsense:info", {}),
        ("info", {}),
    ],
)
def test_value_that_does_not_fit_its_key_is_refused(key: str, change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        record_from(key, BOX.value() | change)


def test_missing_field_is_refused() -> None:
    value = BOX.value()
    del value["password_hash"]
    with pytest.raises(RecordError):
        record_from(BOX.key, value)


@pytest.mark.parametrize("change", [0, -1, 2**63, 1.0, "1", True, None])
def test_change_is_a_positive_number(change: Any) -> None:
    with pytest.raises(RecordError):
        Entry(BOX.key, change, BOX).check()


@pytest.mark.parametrize(
    "key",
    ["mailbox:a\n", "mailbox:A", "address:info", "address:@", "domain:x", "x:y", "", "mailbox:"],
)
def test_key_of_no_record_is_refused_for_deletion_too(key: str) -> None:
    with pytest.raises(RecordError):
        Entry(key, 1, None).check()


def test_record_of_another_key_is_refused() -> None:
    with pytest.raises(RecordError):
        Entry("mailbox:other", 1, BOX).check()


def test_password_hash_is_not_shown() -> None:
    assert "$6$" not in repr(BOX)
    assert "$6$" not in repr(Entry(BOX.key, 1, BOX))
    with pytest.raises(RecordError) as caught:
        Mailbox("info", "example.com", "0" * 32, "{PLAIN}very-secret")
    assert "very-secret" not in str(caught.value)
