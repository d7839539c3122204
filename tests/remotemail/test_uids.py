"""Sets of UIDs in IMAP's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotemail import uids

NUMBERS = st.sets(st.integers(1, uids.LARGEST), max_size=200)


@given(NUMBERS)
def test_what_is_written_is_read_again(numbers: set[int]) -> None:
    if numbers:
        assert uids.read(uids.write(numbers)) == sorted(numbers)
    assert sorted(n for chunk in uids.chunks(numbers) for n in chunk) == sorted(numbers)


def test_runs_are_written_short() -> None:
    assert uids.write([5, 1, 2, 3, 9, 9]) == "1:3,5,9"
    assert uids.write(range(1, 200_001)) == "1:200000"


@given(st.text(alphabet="0123456789:,* \n", max_size=12))
def test_what_is_read_is_a_set_of_uids(text: str) -> None:
    try:
        found = uids.read(text)
    except ValueError:
        return
    assert found == sorted(set(found))
    assert 1 <= found[0] <= found[-1] <= uids.LARGEST


@pytest.mark.parametrize(
    "text",
    ["", "*", "1:*", "0", "3:1", "1:4294967295", "4294967296", "1,", "１", "1\n", "1," * 600_000],
    ids=lambda text: repr(text[:12]),
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        uids.read(text)


def test_chunks_fit_a_command_line() -> None:
    largest = range(uids.LARGEST - 20_000, uids.LARGEST)
    assert max(len(",".join(map(str, chunk))) for chunk in uids.chunks(largest)) < 60_000
