"""CSV as spreadsheets write it: what is read, what is refused in words, and no formulas."""

from __future__ import annotations

import codecs
import csv
import io
import tracemalloc

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.spreadsheets import guarded
from bulk.files import Table, fits, plain, read, write
from bulk.kinds import KINDS

NAMES = KINDS["forwards"].names()


def forwards(content: bytes, *, most: int = 100) -> Table:
    return read(content, NAMES, needed="address", most=most)


def cells(content: bytes) -> list[tuple[int, dict[str, list[str]]]]:
    return [(line.number, line.cells) for line in forwards(content).lines]


INFO = {"address": ["info"], "destination": ["a@example.org", "b@example.org"]}


@pytest.mark.parametrize(
    "content",
    [
        b"address,destination,destination\ninfo,a@example.org,b@example.org\n",
        "アドレス,転送先,転送先 2\r\ninfo,a@example.org,b@example.org\r\n".encode("cp932"),
        "アドレス;転送先;転送先２\r\ninfo;a@example.org;b@example.org\r\n".encode("utf-8-sig"),
        "アドレス\t転送先\t転送先 2\r\ninfo\ta@example.org\tb@example.org".encode("utf-16"),
        b'"Address","Forward to","Forward to 2"\r"info","a@example.org","b@example.org"\r',
        "ａｄｄｒｅｓｓ　,Forward To,FORWARD TO 2,,\ninfo,a@example.org,b@example.org,,\n".encode(),
        b"address,destination,destination\ninfo,a@example.org,b@example.org\n,,\n,,\n\n",
    ],
    ids=["plain", "shift_jis", "semicolons", "utf-16", "old mac", "full width", "empty ends"],
)
def test_what_spreadsheets_write_is_read(content: bytes) -> None:
    assert cells(content) == [(2, INFO)]


def test_sign_that_excel_tells_first_is_believed_and_rows_are_counted_as_it_does() -> None:
    content = b"sep=;\r\n\r\naddress;destination\r\n\r\ninfo;a@example.org\r\n"
    assert cells(content) == [(5, {"address": ["info"], "destination": ["a@example.org"]})]


def test_column_that_means_nothing_is_not_read_and_said() -> None:
    table = forwards("memo,address,destination\n買った,info,a@example.org".encode())
    assert table.unread == ["memo"]
    assert table.lines[0].cells == {"address": ["info"], "destination": ["a@example.org"]}


def test_more_cells_than_headings_are_kept_apart() -> None:
    assert cells(b"address,destination\ninfo,a@example.org,b@example.org") == [
        (2, {"address": ["info"], "destination": ["a@example.org"], "": ["..."]})
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"address\n" + b"\n" * 2_000_000, "more than 100 rows"),
        (b"\n" * 2_000_000 + b"info\n", "name the columns"),
        (b"address\n" + b"a\n" * 1_000_000, "more than 100 rows"),
        (b"address" + b"," * 2_000_000, "name the columns"),
        (b"sep=;\naddress" + b";" * 2_000_000, "name the columns"),
        (b"address\n" + b"," * 2_000_000, "no rows"),
    ],
    ids=["empty rows", "empty rows first", "rows", "columns", "columns by sep", "cells"],
)
def test_large_file_that_is_none_takes_little_memory(content: bytes, words: str) -> None:
    tracemalloc.start()
    try:
        with translation.override("en"), pytest.raises(ValidationError, match=words):
            forwards(content)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 25 * len(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "name the columns"),
        (b"info,a@example.org\n", "name the columns"),
        (b"address,destination\n", "no rows"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\xd0\xcf\x11\xe0rest", "workbook"),
        (b"address\n\x81\xff", "neither UTF-8 nor Shift_JIS"),
        (b"address\nin\0fo", "neither UTF-8 nor Shift_JIS"),
        (b"address\n" + b"x\n" * 101, "more than 100 rows"),
        (b'address\n"' + b"x" * 200_000, "quotation mark"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(content: bytes, words: str) -> None:
    with translation.override("en"), pytest.raises(ValidationError, match=words):
        forwards(content)


@given(st.text())
@example("=1+1")
@example("'=1")
@example("'")
@example("＝1")
@example("\t=1")
def test_no_cell_of_an_export_is_a_formula_and_reading_undoes_what_guards_it(text: str) -> None:
    shown = guarded(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    assert shown.removeprefix("'") == text or shown == text
    assert plain(shown) == plain(f"'{text}")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_what_was_exported_is_read_as_it_was(text: str) -> None:
    assert plain(guarded(text)) == text


def test_export_opens_in_excel() -> None:
    content = write([["アドレス", "=x"]], encoding="utf-8")
    assert content.startswith(codecs.BOM_UTF8)
    assert content.decode("utf-8-sig") == "アドレス,'=x\r\n"
    old = write([["アドレス", "=x"]], encoding="shift_jis")
    assert list(csv.reader(io.StringIO(old.decode("cp932"), newline=""))) == [["アドレス", "'=x"]]


def test_what_shift_jis_does_not_have_is_known() -> None:
    assert fits("日本語.example", "shift_jis")
    assert not fits("한국.example", "shift_jis")
    assert fits("한국.example", "utf-8")
