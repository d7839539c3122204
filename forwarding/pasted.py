"""Addresses in what somebody pastes as a list's members, out of mail programs, tables and letters.

Pure: text in, addresses out, and whatever is not plainly an address named by its line. Nothing
that could be meant as an address is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from forwarding.addresses import clean_destination

#: Longer than any address with any name.
_LONGEST = 320
# A name in quotes and an address in angle brackets hold together, whatever stands in them.
_TOKEN = re.compile(r'"[^"]*"|<[^<>]*>|(?P<end>[,;、，；\t])|.', re.DOTALL)
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>", re.DOTALL)
_AT = re.compile("[@＠]")
# What letters and notes put before each line of a list; an address may begin with * or - itself.
_BULLET = re.compile(r"\A\s*(?:[・･•●○■□◆◇※＊]\s*|[*-]\s+)")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is no address: where it stands, how it reads, and what to change."""

    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """The addresses as stored, each once, and what is none."""

    addresses: list[str] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)


def parse(text: str) -> Pasted:
    """Read addresses, one or many, with any of the usual separators and with or without names.

    A person's name in a cell of its own is passed over where its line has an address.
    """
    found: dict[str, str] = {}
    wrong: list[Wrong] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for piece in _pieces(_BULLET.sub("", line)):
            try:
                for address in _addresses(piece, beside_one=bool(_AT.search(line))):
                    found.setdefault(address.lower(), address)
            except ValidationError as error:
                wrong.append(Wrong(number, piece, " ".join(error.messages)))
    return Pasted(list(found.values()), wrong)


def _pieces(line: str) -> Iterator[str]:
    """Cut a line where a separator stands, and behind an address in angle brackets."""
    piece = ""
    for token in _TOKEN.finditer(line):
        if not token["end"]:
            piece += token[0]
        if token["end"] or (token[0].startswith("<") and _AT.search(token[0])):
            yield piece.strip()
            piece = ""
    yield piece.strip()


def _addresses(piece: str, *, beside_one: bool) -> list[str]:
    """Return the addresses of one piece; ValidationError says why it is none."""
    if len(piece) > _LONGEST:
        raise ValidationError(_("“%(start)s…” is too long.") % {"start": piece[:40]}, code="long")
    if named := _NAMED.fullmatch(piece):
        return [_named(named["name"].strip(), named["address"].strip())]
    words = piece.split()
    if all(map(_AT.search, words)):
        return [_clean(word) for word in words]
    if _AT.search(piece):
        words_for_it = _("“%(typed)s”: put the address alone, or in < > after the name.")
        raise ValidationError(words_for_it % {"typed": piece}, code="mixed")
    if beside_one and _reads_like_a_name(piece):
        return []
    return [_clean(piece)]


def _named(name: str, typed: str) -> str:
    """Return the address in `name <typed>`, unless the name looks like an address as well."""
    address = _clean(typed)
    quoted = name.startswith('"')
    if _AT.search(name) and not quoted and name.lower() != address.lower():
        raise ValidationError(
            _("“%(typed)s”: here are two addresses. Put each on a line of its own.")
            % {"typed": f"{name} <{typed}>"},
            code="two",
        )
    return address


def _clean(typed: str) -> str:
    return clean_destination(typed.removeprefix("mailto:"))


def _reads_like_a_name(piece: str) -> bool:
    """Whether this is no address with its @ forgotten: those have no space and ASCII only."""
    return not piece.isascii() or len(piece.split()) > 1
