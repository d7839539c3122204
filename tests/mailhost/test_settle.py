"""Directories of mailboxes that come and go, with Postfix and Dovecot left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailhost import differences
from mailhost.dovecot import Doveadm
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths
from mailhost.records import Entry, Mailbox
from mailhost.settle import Settler
from mailhost.store import Store

HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
BOX = Mailbox("info", "example.com", "1" * 32, HASH)


class Place:
    """A mail server's directories, with one mailbox in them."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        for directory in (self.paths.mail, self.paths.trash, self.paths.store.parent):
            directory.mkdir()
        self.store = Store(self.paths.store)
        self.settler = Settler(self.paths, self.store, Maps(self.paths), Doveadm(self.paths))
        self.take(Entry(BOX.key, 1, BOX))
        self.deliver("early")

    def take(self, entry: Entry) -> None:
        """Write an entry, and let maps and sessions pass as done."""
        with self.store.transaction():
            self.store.take([entry], NOW)
        for name in NAMES:
            self.store.lines.forget_dirty(name)
        self.store.forget_kicks([BOX.name])

    def deliver(self, word: str) -> None:
        new = self.paths.home(BOX.mailbox_id) / "Maildir/new"
        new.mkdir(parents=True, exist_ok=True)
        (new / word).write_text(word)

    def mail(self, trashed: str) -> list[str]:
        return [path.name for path in (self.paths.trashed(trashed)).glob("Maildir/new/*")]

    def strays(self) -> list[str]:
        return [str(item) for item in differences.of_directories(self.store, self.paths)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


def test_mail_that_comes_while_a_mailbox_closes_is_kept_apart(place: Place) -> None:
    place.settler.at = lambda instant: place.deliver("late") if "moved" in instant else None
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    assert place.mail(BOX.mailbox_id) == ["early"]
    assert not place.paths.home(BOX.mailbox_id).exists()
    others = [path.name for path in place.paths.trash.iterdir() if path.name != BOX.mailbox_id]
    assert [place.mail(other) for other in others] == [["late"]]
    assert place.strays() == []


def test_mailbox_that_cannot_move_stays_closing(place: Place) -> None:
    place.take(Entry(BOX.key, 2, None))
    place.paths.trash.rmdir()
    place.paths.trash.write_text("in the way")
    place.settler.settle()
    assert place.store.is_closing(BOX.mailbox_id)
    place.paths.trash.unlink()
    place.paths.trash.mkdir()
    place.settler.settle()
    assert not place.store.is_closing(BOX.mailbox_id)
    assert place.mail(BOX.mailbox_id) == ["early"]
