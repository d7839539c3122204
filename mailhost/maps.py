"""Postfix's lmdb maps: changed in place while Postfix reads them, no reload needed.

However many keys of a map change, they do so in one transaction of LMDB, under the lock that
Postfix's own programs take: `postmap -i` would make one of each key, with the disk synced for
each. A map is made, and looked up, by postmap itself. Source: Postfix postmap(1), lmdb_table(5),
LMDB_README.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import lmdb

from mailhost import programs
from mailhost.errors import HostError
from mailhost.paths import Paths

#: In the order in which additions are made; removals go the other way.
NAMES = ("transport", "mailboxes", "aliases", "domains", "refused")

_HERE = r"[a-z0-9_][a-z0-9._+-]{0,63}@[a-z0-9.-]{3,253}"
_TARGET = r"[A-Za-z0-9_][A-Za-z0-9._+=&'~#-]{0,63}@[a-z0-9.-]{3,253}"
# The grammars were checked when the record was made; these keep a line a line even so.
# Nothing in them matches twice, so no text makes them slow.
_LINES = {
    "domains": r"(?>[a-z0-9][a-z0-9.-]{2,252})\t[a-z0-9][a-z0-9.-]{2,252}+",
    "mailboxes": rf"(?>{_HERE})\t{_HERE}",
    "aliases": rf"(?>(?:[a-z0-9_][a-z0-9._+-]{{0,63}})?@[a-z0-9.-]{{3,253}})"
    rf"\t{_TARGET}(?:, {_TARGET})*+",
    "transport": rf"(?>{_HERE})\tlists:unix:private/lists-lmtp",
    "refused": rf"(?>{_HERE})\t550 5\.1\.1 [A-Za-z ]{{1,60}}+",
}
_BLOCKS = {name: re.compile(rf"\A(?:{text}\n)*+\Z") for name, text in _LINES.items()}
#: Lines checked and written at a time.
_BLOCK = 5000
# What the key of a map and its value end with, as postmap writes them.
_END = b"\0"
# Bytes of address space that a map may grow into, and how many a changed key may take of them: as
# many pages as its tree is deep, each written anew.
_ROOM = 1 << 28
_ROOM_PER_KEY = 1 << 15


class MapError(HostError):
    """postmap failed, or a line was about to be written that could mean something else."""


def block(name: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return source lines for postmap; MapError if one is not a plain line of its map."""
    return _checked(name, list(map("%s\t%s\n".__mod__, rows)))


def _checked(name: str, lines: Sequence[str]) -> str:
    """Return the lines as one text; MapError if one is not a plain line of the map."""
    text = "".join(lines)
    # Counted too, or a key or value with a newline could pass as two good lines.
    if text.count("\n") != len(lines) or not _BLOCKS[name].match(text):
        raise MapError(f"not only lines of the map {name}: {_culprit(name, lines)!a}")
    return text


def _culprit(name: str, lines: Iterable[str]) -> str:
    bad = (line for line in lines if line.count("\n") > 1 or not _BLOCKS[name].match(line))
    return next(bad).rstrip("\n")


class Maps:
    """The maps of one server."""

    def __init__(self, paths: Paths) -> None:
        """Name the maps; nothing is opened. Set `keep` to what postmap shall hold open."""
        self._paths = paths
        self.keep: Sequence[int] = ()

    def put(self, name: str, lines: Iterable[tuple[str, str]]) -> None:
        """Add or replace these keys, all or none."""
        rows = list(lines)
        if block(name, rows):
            with self._changing(name, len(rows)) as map_:
                for key, value in rows:
                    map_.put(key.encode("ascii") + _END, value.encode("ascii") + _END)

    def delete(self, name: str, keys: Iterable[str]) -> None:
        """Remove these keys, all or none; one that is not there is no error."""
        if gone := list(keys):
            with self._changing(name, len(gone)) as map_:
                for key in gone:
                    map_.delete(key.encode("ascii") + _END)

    @contextmanager
    def _changing(self, name: str, keys: int) -> Iterator[lmdb.Transaction[bytes]]:
        """Change so many keys of a map that postmap has made, in one transaction."""
        file = self._file(name)
        try:
            room = _ROOM + keys * _ROOM_PER_KEY + 2 * file.stat().st_size
            # Of two that write one holds the server's lock. Of LMDB's own Postfix takes none, so
            # that who writes does not know who reads, and the second change in a row takes the
            # pages that a lookup may still have before it. Therefore each lookup locks the file
            # (fcntl(2)), and who writes waits for it: after LMDB has opened the file, since
            # whatever a process closes of one frees all its locks.
            with (
                lmdb.open(str(file), room, subdir=False, create=False, lock=False) as opened,
                file.open("r+b") as locked,
                _alone(locked.fileno()),
                opened.begin(write=True) as transaction,
            ):
                yield transaction
        except (OSError, lmdb.Error) as error:
            raise MapError(f"the map {name} could not be changed: {error}") from error

    def rebuild(self, name: str, lines: Iterable[str]) -> None:
        """Make the map hold just these source lines, in one transaction of the map."""
        source = self._paths.maps / name
        count = 0
        with source.open("w", encoding="ascii") as file:
            rest = iter(lines)
            while text := _checked(name, list(islice(rest, _BLOCK))):
                count += text.count("\n")
                file.write(text)
        # postmap gives a new map its source's permissions.
        source.chmod(0o644)
        self._postmap(name, rows=count)
        source.unlink()

    def ask(self, name: str, keys: Iterable[str]) -> programs.Running:
        """Start looking up these keys; `answers` reads the result."""
        text = "".join(f"{key}\n" for key in keys)
        seconds = programs.patience(text.count("\n"))
        return programs.start(self._command(name, "-q", "-"), text, seconds=seconds)

    def contents(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield every key and value of the map, in the order of the keys' bytes."""
        with _map_errors():
            for text in programs.lines(self._command(name, "-s")):
                key, _, value = text.partition("\t")
                yield key, value

    def rebuild_sni(self, files: Mapping[str, Path]) -> None:
        """Make `sni` hold the content of each domain's file (postmap -F): key, then chain."""
        source = self._paths.maps / "sni"
        descriptor = os.open(source, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.writelines(f"{domain} {path}\n" for domain, path in files.items())
        # The map holds private keys and takes its source's mode: closed to all but root,
        # as whom smtpd(8) opens it.
        self._postmap("sni", "-F", rows=len(files))
        source.unlink()

    def ensure_sni(self) -> None:
        """Make an empty `sni` if there is none: Postfix does not start TLS without it."""
        if not self._file("sni").exists():
            self.rebuild_sni({})

    def missing(self) -> list[str]:
        """Return the maps that do not exist yet."""
        return [name for name in NAMES if not self._file(name).exists()]

    def _file(self, name: str) -> Path:
        return self._paths.maps / f"{name}.lmdb"

    def _command(self, name: str, *options: str) -> list[str]:
        table = f"lmdb:{self._paths.maps / name}"
        return ["postmap", "-c", str(self._paths.postfix), *options, table]

    def _postmap(self, name: str, *options: str, rows: int) -> None:
        seconds = programs.patience(rows)
        with _map_errors():
            answer = programs.run(self._command(name, *options), "", self.keep, seconds)
        if answer.code:
            raise MapError(f"postmap on {name}: {answer.err or answer.code}")


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """Let no program of Postfix look anything up in a map."""
    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


@contextmanager
def _map_errors() -> Iterator[None]:
    try:
        yield
    except programs.TimedOut as error:
        raise MapError(str(error)) from error


def answers(running: programs.Running) -> dict[str, str]:
    """Return what `Maps.ask` found; MapError if postmap failed."""
    with _map_errors():
        answer = running.answer()
    # postmap ends with 1, and no word, when it found nothing.
    if answer.code not in (0, 1) or answer.err:
        raise MapError(f"postmap -q: {answer.err or answer.code}")
    pairs = (text.partition("\t") for text in answer.out.splitlines())
    return {key: value for key, _, value in pairs}
