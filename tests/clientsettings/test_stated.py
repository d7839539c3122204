"""What a stranger may state as an address, and what becomes of anything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clientsettings import stated

PLAIN = re.compile(r"[a-z0-9._+-]{1,64}@[a-z0-9.-]{3,253}")
NASTY = [
    *("<", ">", '"', "'", "&", "]]>", "%00", "%0d%0a", "\r\n", "\n", "\0", "\u202e", "\u212a"),
    *("ｉ", "＠", "@", ".", "..", "+", " ", "(", ";", "xn--"),
    *("info", "example.com", "日本語.example"),
]
TEXTS = st.lists(st.sampled_from(NASTY) | st.text(max_size=4), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("info@example.com", "info@example.com"),
        (" Info@Example.COM ", "info@example.com"),
        ("sales+2026@example.com", "sales+2026@example.com"),
        ("info@日本語.example", "info@xn--wgv71a119e.example"),
    ],
)
def test_address_is_read_as_it_is_stored(text: str, address: str) -> None:
    assert str(stated.read(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "info",
        "@example.com",
        "info@",
        "info@example",
        "in fo@example.com",
        "info@example.com\r\nX: y",
        "info@example.com\n",
        "in\0fo@example.com",
        "info@exam\0ple.com",
        "<script>@example.com",
        '"info"@example.com',
        "info&amp;@example.com",
        "info%40example.com",
        "info@example.com@example.org@",
        "ｉｎｆｏ@example.com",
        "info@ｅxample.com",
        "\u212ainfo@example.com",
        "info@[127.0.0.1]",
        "info@" + "a" * 300 + ".com",
        "a" * 65 + "@example.com",
        "a" * 10_000,
        "info@-example.com",
        "in..fo@example.com",
    ],
)
def test_what_is_no_address_here_is_refused(text: str) -> None:
    with pytest.raises(stated.NotAnAddress):
        stated.read(text)


@given(TEXTS | st.tuples(TEXTS, TEXTS).map("@".join) | st.emails())
@example("info@example.com")
def test_what_passes_means_nothing_to_xml_headers_or_pages(text: str) -> None:
    try:
        address = stated.read(text)
    except stated.NotAnAddress:
        return
    assert PLAIN.fullmatch(str(address))
    assert stated.read(str(address)) == address
