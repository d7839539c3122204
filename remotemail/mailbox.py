"""What an account has on its server: folders, lists, one message, deletion. All by UID.

Looking never changes a flag: folders are opened by EXAMINE and messages read by BODY.PEEK. What is
fetched is always bounded and comes as a literal, since a header of a megabyte in an ENVELOPE or a
BODYSTRUCTURE would be one line that no client takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.core.paginator import Page, Paginator
from imapclient import DELETED, SEEN, IMAPClient

from accounts.models import Account
from mailhost import mailtext, stuck
from remotemail import uids as uidsets
from remotemail.connection import connect, translated

INBOX = "INBOX"
PAGE_SIZE = 50
#: Bytes of each message that a list looks at, and of one that is shown.
GLANCE, LOOK = 8 * 1024, 512 * 1024
#: Bytes of one piece of a download.
PIECE = 256 * 1024
#: By what a list can be in order, and how IMAP (RFC 5256) says so. "" needs no sorting: the order
#: in which mail arrived is that of the UIDs.
ORDERS: Mapping[str, tuple[str, ...]] = {
    "new": (),
    "old": (),
    "large": ("REVERSE SIZE",),
    "from": ("FROM",),
    "subject": ("SUBJECT",),
}
#: In which headers is searched.
PLACES: Mapping[str, tuple[str, ...]] = {
    "both": ("FROM", "SUBJECT"),
    "from": ("FROM",),
    "subject": ("SUBJECT",),
}
# Characters that mean something to IMAP outside quotes; they part words as blanks do.
_BETWEEN_WORDS = re.compile(r"[\s\x00-\x1f\x7f(){}%*\]]+")
_NEVER_SHOWN = (b"\\Noselect", b"\\NonExistent")


class Gone(Exception):
    """A message is no longer in the folder."""


class Renumbered(Exception):
    """The folder has numbered its messages anew (UIDVALIDITY): a UID from before says nothing."""


@dataclass(frozen=True, slots=True)
class Query:
    """What of a folder is wanted, and in which order."""

    words: str = ""
    place: str = "both"
    order: str = "new"

    @property
    def criteria(self) -> list[str]:
        """What IMAP searches for: each word has to occur."""
        found: list[str] = []
        for word in filter(None, _BETWEEN_WORDS.split(self.words)):
            keys = PLACES[self.place]
            found += ["OR"] * (len(keys) - 1)
            for key in keys:
                found += [key, word]
        return found or ["ALL"]


@dataclass(frozen=True, slots=True)
class Head:
    """A message in a list. `size` in bytes; `defects`: see mailhost.stuck."""

    uid: int
    received: datetime | None
    size: int
    seen: bool
    sender: str
    subject: str
    defects: tuple[str, ...]

    @property
    def large(self) -> bool:
        """Whether it is large."""
        return self.size >= stuck.LARGE

    @property
    def stuck(self) -> bool:
        """Whether it may be what stops a mail program."""
        return bool(self.defects)


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that is looked at: the list's line of it, and its beginning."""

    head: Head
    data: bytes

    @property
    def whole(self) -> bool:
        """Whether `data` is all of it."""
        return len(self.data) >= self.head.size


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is open. `validity` is its UIDVALIDITY, `count` its messages."""

    name: str
    validity: int
    count: int


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a deletion: messages deleted, and those that were there no more."""

    count: int
    gone: int


# Folders


def folders(client: IMAPClient) -> list[str]:
    """Return the names of the folders, the inbox first."""
    found = [
        str(name)
        for flags, _delimiter, name in client.list_folders()
        if not any(flag in flags for flag in _NEVER_SHOWN)
    ]
    others = sorted(name for name in found if name.upper() != INBOX)
    return [INBOX, *others]


def open_folder(
    client: IMAPClient, name: str, validity: int | None = None, *, to_delete: bool = False
) -> Folder:
    """Open a folder, to look at it only unless it is `to_delete` from.

    Renumbered if its UIDVALIDITY is another than the one given.
    """
    answer = client.select_folder(name, readonly=not to_delete)
    folder = Folder(name, int(answer[b"UIDVALIDITY"]), int(answer[b"EXISTS"]))
    if validity is not None and folder.validity != validity:
        raise Renumbered(name)
    return folder


# Lists


class _Order(Protocol):
    """The messages of a list, of which a page is fetched."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> list[Head]: ...


class _AsArrived:
    """All messages of a folder in the order of their arrival: nothing has to be searched."""

    def __init__(self, client: IMAPClient, folder: Folder, *, newest_first: bool) -> None:
        self._client = client
        self._count = folder.count
        self._newest_first = newest_first

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> list[Head]:
        first, end = part.start, min(part.stop, self._count)
        if first >= end:
            return []
        if self._newest_first:
            first, end = self._count - end, self._count - first
        self._client.use_uid = False
        try:
            found = self._client.fetch(range(first + 1, end + 1), ["UID", *_items(GLANCE)])
        finally:
            self._client.use_uid = True
        rows = [found[number] for number in sorted(found)]
        shown = [_head(int(row[b"UID"]), row) for row in rows if _is_there(row) and b"UID" in row]
        return shown[::-1] if self._newest_first else shown


class _AsFound:
    """Messages that were searched or sorted by the server."""

    def __init__(self, client: IMAPClient, found: list[int]) -> None:
        self._client = client
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, part: slice) -> list[Head]:
        return heads(self._client, self._found[part])


def page_of(client: IMAPClient, folder: Folder, query: Query, number: str | None) -> Page[Head]:
    """Return a page of a folder's messages; only what it shows is fetched."""
    return Paginator(_order(client, folder, query), PAGE_SIZE).get_page(number)  # type: ignore[arg-type]


def _order(client: IMAPClient, folder: Folder, query: Query) -> _Order:
    criteria, keys = query.criteria, ORDERS[query.order]
    if keys:
        return _AsFound(client, list(client.sort(keys, criteria, "UTF-8")))
    if criteria == ["ALL"]:
        return _AsArrived(client, folder, newest_first=query.order == "new")
    found = sorted(client.search(criteria, "UTF-8"), reverse=query.order == "new")
    return _AsFound(client, found)


def heads(client: IMAPClient, wanted: list[int]) -> list[Head]:
    """Return these messages in the order given, without those that are gone."""
    if not wanted:
        return []
    found = client.fetch(wanted, _items(GLANCE))
    return [_head(uid, found[uid]) for uid in wanted if _is_there(found.get(uid))]


# One message


def look(client: IMAPClient, uid: int) -> Opened:
    """Return a message's beginning. Gone if there is none of this UID."""
    row = client.fetch([uid], _items(LOOK)).get(uid)
    if not _is_there(row):
        raise Gone(uid)
    return Opened(_head(uid, row, LOOK), _data(row))


class Download:
    """A whole message in pieces, over a connection that ends with it."""

    def __init__(self, account: Account, folder: str, validity: int, uid: int) -> None:
        """Find the message. Gone, Renumbered, or Unreachable."""
        self._account = account
        self._uid = uid
        self._client = connect(account)
        try:
            with translated(account):
                open_folder(self._client, folder, validity)
                self.opened = look(self._client, uid)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces; Unreachable or Gone in the middle: nobody shall take that for whole."""
        sent, size = 0, self.opened.head.size
        try:
            while sent < size:
                piece = self._piece(sent)
                if not piece:
                    raise Gone(self._uid)
                sent += len(piece)
                yield piece
        finally:
            self.close()

    def _piece(self, start: int) -> bytes:
        with translated(self._account):
            row = self._client.fetch([self._uid], [f"BODY.PEEK[]<{start}.{PIECE}>"])
        return _data(row.get(self._uid, {}))

    def close(self) -> None:
        """End the connection, also where nobody has read anything."""
        self._client.__exit__(None, None, None)


# Deletion


def older_than(client: IMAPClient, seconds: int) -> list[int]:
    """Return the messages that arrived more than so many seconds ago (RFC 5032).

    By seconds and not by a date: IMAP's dates are those of the mail server's own time zone.
    """
    return list(client.search(["OLDER", max(1, seconds)]))


def there(client: IMAPClient, wanted: Iterable[int]) -> dict[int, int]:
    """Return the size in bytes of each of these messages that is still there."""
    found: dict[int, int] = {}
    for chunk in uidsets.chunks(wanted):
        rows = client.fetch(chunk, ["RFC822.SIZE"])
        found |= {
            uid: int(row[b"RFC822.SIZE"]) for uid, row in rows.items() if b"RFC822.SIZE" in row
        }
    return found


def delete(client: IMAPClient, wanted: Iterable[int]) -> Deleted:
    """Delete these messages of a folder that was opened for it, and no other.

    UID EXPUNGE (RFC 4315) leaves alone what another program has marked as deleted meanwhile.
    """
    wanted = set(wanted)
    found = list(there(client, wanted))
    for chunk in uidsets.chunks(found):
        client.add_flags(chunk, [DELETED], silent=True)
        client.expunge(chunk)
    left = sum(1 for _ in there(client, found))
    return Deleted(len(found) - left, len(wanted) - len(found))


# What FETCH answers


def _items(most: int) -> list[str]:
    return ["FLAGS", "INTERNALDATE", "RFC822.SIZE", f"BODY.PEEK[]<0.{most}>"]


def _is_there(row: Mapping[bytes, Any] | None) -> bool:
    """Say whether the answer is about a message, and not of one that went at this moment."""
    return row is not None and b"RFC822.SIZE" in row and any(b"BODY[]" in key for key in row)


def _data(row: Mapping[bytes, Any]) -> bytes:
    found = next((value for key, value in row.items() if key.startswith(b"BODY[]")), b"")
    return found if isinstance(found, bytes) else str(found or "").encode()


def _head(uid: int, row: Mapping[bytes, Any], most: int = GLANCE) -> Head:
    data = _data(row)
    size = int(row.get(b"RFC822.SIZE", len(data)))
    # Less than was asked for is all there is, whatever size the server has on record.
    known = max(size, len(data)) if len(data) >= most else len(data)
    return Head(
        uid=uid,
        received=row.get(b"INTERNALDATE"),
        size=size,
        seen=SEEN in row.get(b"FLAGS", ()),
        sender=mailtext.one_line(mailtext.header_text(mailtext.header(data, "from")), 100),
        subject=mailtext.one_line(mailtext.header_text(mailtext.header(data, "subject")), 150),
        defects=stuck.defects_of(data, known),
    )
