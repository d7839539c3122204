"""Cells of CSV files that a spreadsheet shows as they stand, whatever was typed into them."""

from __future__ import annotations

#: What makes a spreadsheet take a cell for a formula (OWASP, CSV Injection), full-width too, and
#: the sign that says it is none, which has to be told from one of the cell's own.
_FORMULA = tuple("=+-@＝＋－＠|%\t\r\n'")


def guarded(cell: str) -> str:
    """Return a cell's text with an apostrophe before what would begin a formula."""
    return f"'{cell}" if cell.lstrip(" \u3000").startswith(_FORMULA) else cell
