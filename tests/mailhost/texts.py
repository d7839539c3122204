"""Strategies for texts that keep the grammars, cheaper to draw than from the patterns."""

from __future__ import annotations

import re

from hypothesis import strategies as st


def _word(alphabet: str, first: str, longest: int) -> st.SearchStrategy[str]:
    """Words without two dots in a row and without one at the end."""

    def tidy(start: str, rest: str) -> str:
        return re.sub(r"\.+", ".", start + rest)[:longest].rstrip(".")

    return st.builds(tidy, st.sampled_from(first), st.text(alphabet, max_size=longest))


_LOWER = "abcxyz0189"
labels = st.builds(
    lambda first, rest: (first + rest).rstrip("-"),
    st.sampled_from(_LOWER),
    st.text(_LOWER + "-", max_size=62),
)
domains = (
    st.lists(labels, min_size=2, max_size=3).map(".".join).filter(lambda text: len(text) < 180)
)
mailbox_names = _word(_LOWER + "._-", _LOWER, 32)
local_parts = _word(_LOWER + "._+-", _LOWER + "_", 64)
destinations = st.builds(
    "{}@{}".format, _word(_LOWER + "ABZ._+=&'~#-", _LOWER + "ABZ_", 64), domains
)
mailbox_ids = st.uuids().map(lambda uuid: uuid.hex)
homes = st.lists(_word(_LOWER + "AZ._-", _LOWER + "AZ_", 20), max_size=4).map("/".join)
