"""CSV as spreadsheets write and read it (RFC 4180, and what Excel makes of it).

Pure: bytes in, cells out, and the other way. Excel writes UTF-8 with a byte order mark,
Shift_JIS (Windows' code page 932) or UTF-16 with tabs, separates by semicolons where the comma
is a decimal sign, and may leave empty rows and columns at the end.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.spreadsheets import guarded

#: The encodings of an export, by the word in its address: Python's names.
ENCODINGS = {"utf-8": "utf-8-sig", "shift_jis": "cp932"}
_DELIMITERS = ",;\t"
# Of Excel's tables, most of whose columns mean nothing here.
_MOST_COLUMNS = 256
# Rows without anything in them, which spreadsheets leave at the end.
_MOST_EMPTY = 20_000
# Full-width forms of the characters of ASCII, and the wide space.
_HALF = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"))
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its number as a spreadsheet counts, and its cells by column, as typed."""

    number: int
    cells: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds. `unread` are the headings of columns that mean nothing here."""

    lines: list[Line]
    columns: list[str]
    unread: list[str]


def read(content: bytes, names: Mapping[str, str], *, needed: str, most: int) -> Table:
    """Return the rows of a file.

    `names` are the columns by each heading that they may have (see heading()); one of a column's
    name may be followed by a number, so that it comes several times. `needed` is the column that
    has to be there; more than `most` rows are refused. Raises ValidationError, in words for the
    customer, where the file cannot be read.
    """
    rows = _rows(*_cut(_decoded(content), names))
    cells = _first(rows)
    columns = [names.get(heading(cell), "") for cell in cells[:_MOST_COLUMNS]]
    if needed not in columns or len(cells) > _MOST_COLUMNS:
        raise ValidationError(
            _(
                "The first row has to name the columns. Export a file here, and use its first "
                "row as it is."
            ),
            code="heading",
        )
    lines: list[Line] = []
    for number, row in rows:
        if any(cell.strip() for cell in row):
            lines.append(Line(number, _by_column(columns, row)))
        if len(lines) > most or number > most + _MOST_EMPTY:
            raise ValidationError(
                _("The file has more than %(most)s rows. Import at most so many at a time.")
                % {"most": f"{most:,}"},
                code="rows",
            )
    if not lines:
        raise ValidationError(_("The file has no rows below the first."), code="empty")
    unread = [cell.strip() for cell, column in zip(cells, columns, strict=True) if not column]
    return Table(lines, [name for name in columns if name], [cell for cell in unread if cell])


def write(rows: Iterable[Sequence[str]], *, encoding: str) -> bytes:
    """Return a file of these rows that no spreadsheet takes for formulas.

    `encoding` is one of ENCODINGS. What it has no character for becomes a question mark.
    """
    made = io.StringIO(newline="")
    csv.writer(made).writerows([guarded(cell) for cell in row] for row in rows)
    return made.getvalue().encode(ENCODINGS[encoding], errors="replace")


def fits(text: str, encoding: str) -> bool:
    """Whether an encoding has all characters of a text."""
    try:
        text.encode(ENCODINGS[encoding])
    except UnicodeEncodeError:
        return False
    return True


def plain(cell: str) -> str:
    """Return what a cell stands for: without the apostrophe of guarded(), in half-width."""
    return half_width(cell.strip().removeprefix("'")).strip()


def half_width(text: str) -> str:
    """Return a text with full-width letters, digits and signs as their usual ones."""
    return text.translate(_HALF)


def heading(cell: str) -> str:
    """Return a heading in the form in which it is looked for: no case, spaces or number."""
    return re.sub(r"[\s\d]+", "", plain(cell)).lower()


def _decoded(content: bytes) -> str:
    """Return the file's text."""
    if content.startswith(_WORKBOOKS):
        raise ValidationError(
            _("This is a workbook of a spreadsheet. Save it as “CSV UTF-8” there, and send that."),
            code="workbook",
        )
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    for encoding in [marked] if marked else ["utf-8", "cp932"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ValidationError(
        _("The file is neither UTF-8 nor Shift_JIS text. Save it as “CSV UTF-8”, and send that."),
        code="encoding",
    )


def _cut(text: str, names: Mapping[str, str]) -> tuple[str, str, int]:
    """Return what to read, the sign that separates its cells, and its first row's number.

    Of the signs the one by which most of the first row's headings are known.
    """
    told = re.match(r"sep=([,;\t])\r?\n", text)
    if told:
        # Counted as the spreadsheet does.
        return text[told.end() :], told[1], 2
    return text, max(_DELIMITERS, key=lambda sign: _known(text, sign, names)), 1


def _known(text: str, delimiter: str, names: Mapping[str, str]) -> int:
    try:
        first = _first(_rows(text, delimiter, 1))
    except ValidationError:
        return 0
    return sum(heading(cell) in names for cell in first[:_MOST_COLUMNS])


def _first(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the first row that is not empty, which names the columns."""
    return next((row for _n, row in islice(rows, _MOST_EMPTY) if any(row)), [])


def _rows(text: str, delimiter: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows with their numbers, one by one: a file may have millions, all empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        yield from enumerate(reader, start)
    except csv.Error as error:
        raise ValidationError(
            _("The file cannot be read as CSV: a quotation mark may be missing."), code="csv"
        ) from error


def _by_column(columns: list[str], row: list[str]) -> dict[str, list[str]]:
    """Return a row's cells by column.

    Something in "" tells that there is more than the headings name: what it is may be a
    password, and is not kept.
    """
    cells: dict[str, list[str]] = {}
    for column, cell in zip(columns, row, strict=False):
        if cell.strip() and column:
            cells.setdefault(column, []).append(cell)
    if any(cell.strip() for cell in row[len(columns) :]):
        cells[""] = ["..."]
    return cells
