"""Which messages go back: each as often as the archive has it, however often it is asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.archive.putting import missing

# Messages 5 and 9 are equal, as a message and its copy in another folder are.
BOTH = {5: "same", 9: "same"}


@pytest.mark.parametrize(
    ("wanted", "put", "there", "goes"),
    [
        (BOTH, {}, {}, {5, 9}),
        (BOTH, {}, {"same": 1}, {9}),
        (BOTH, {}, {"same": 3}, set()),
        (BOTH, {5: "same"}, {"same": 1}, {9}),
        (BOTH, BOTH, {"same": 1}, {9}),
        ({9: "same"}, {5: "same"}, {"same": 1}, {9}),
        ({5: "same"}, {5: "same"}, {"same": 1}, set()),
        ({5: "same"}, BOTH, {"same": 1}, set()),
        ({5: "same"}, {5: "same"}, {}, {5}),
        ({5: "same"}, {5: "other"}, {"same": 1}, set()),
        ({1: "a", 2: "b"}, {}, {"b": 1}, {1}),
    ],
)
def test_equal_messages_are_told_apart(
    wanted: dict[int, str], put: dict[int, str], there: dict[str, int], goes: set[int]
) -> None:
    assert missing(wanted, put, there) == goes


NUMBERS = st.dictionaries(st.integers(1, 8), st.sampled_from("abc"))


@given(NUMBERS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 4)), st.data())
def test_all_again_brings_each_as_often_as_it_was(
    archive: dict[int, str], there: dict[str, int], data: st.DataObject
) -> None:
    put: dict[int, str] = {}
    for _ in range(3):
        asked = data.draw(st.sets(st.sampled_from(sorted(archive)))) if archive else set()
        for number in missing({n: archive[n] for n in asked}, put, there):
            there[archive[number]] = there.get(archive[number], 0) + 1
            put[number] = archive[number]
    for number in missing(archive, put, there):
        there[archive[number]] = there.get(archive[number], 0) + 1
        put[number] = archive[number]
    wanted = Counter(archive.values())
    assert all(there[digest] >= count for digest, count in wanted.items())
    assert not missing(archive, put, there)
