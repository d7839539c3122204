"""Directories of mailboxes that come and go, with Postfix and Dovecot left out."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailhost import differences
from mailhost.config import HostConfig
from mailhost.dovecot import Doveadm
from mailhost.ftp import Ftp
from mailhost.maps import NAMES, Maps
from mailhost.paths import Paths
from mailhost.records import Entry, Mailbox
from mailhost.replies import Scripts
from mailhost.settle import Settler
from mailhost.store import Store
from mailhost.webmail.holders import Holders
from mailhost.webmail.sites import Sites

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
        config = HostConfig("mail1.plusmail.test")
        sites = Sites(self.paths, config)
        self.settler = Settler(
            self.paths,
            self.store,
            Maps(self.paths),
            Doveadm(self.paths),
            Ftp(self.paths),
            sites,
            Holders(sites, config),
            Scripts(self.paths, config),
        )
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
    others = [path.name for path in place.paths.trash.iterdir() if BOX.mailbox_id not in path.name]
    assert [place.mail(other) for other in others] == [["late"]]
    assert place.strays() == []


def test_mailbox_that_cannot_move_stays_closing(place: Place) -> None:
    place.take(Entry(BOX.key, 2, None))
    place.paths.trash.rmdir()
    place.paths.trash.write_text("in the way")
    place.settler.settle()
    assert place.store.unsettled("closing") == [BOX.mailbox_id]
    place.paths.trash.unlink()
    place.paths.trash.mkdir()
    place.settler.settle()
    assert place.store.unsettled("closing") == []
    assert place.mail(BOX.mailbox_id) == ["early"]


def test_label_lies_beside_the_mail_until_it_is_restored(place: Place) -> None:
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    label = place.paths.trash / f"{BOX.mailbox_id}.json"
    assert json.loads(label.read_text())["address"] == BOX.address
    assert stat.S_IMODE(label.stat().st_mode) == 0o600
    assert place.strays() == []
    place.take(Entry(BOX.key, 3, BOX))
    place.settler.settle()
    assert list(place.paths.trash.iterdir()) == []
    home = place.paths.home(BOX.mailbox_id)
    assert [path.name for path in home.iterdir()] == ["Maildir"]


def test_link_in_a_mailbox_leads_no_label_elsewhere(place: Place, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (place.paths.home(BOX.mailbox_id) / "trashed.json").symlink_to(victim)
    for suffix in ("", ".new"):
        (place.paths.trash / f"{BOX.mailbox_id}.json{suffix}").symlink_to(victim)
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    assert victim.read_text() == "untouched"
    assert not place.paths.label(BOX.mailbox_id).is_symlink()


@pytest.mark.parametrize("where", ["home", "shard"])
def test_link_where_a_mailbox_was_is_not_followed(place: Place, tmp_path: Path, where: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / BOX.mailbox_id).mkdir(parents=True)
    home = place.paths.home(BOX.mailbox_id)
    replaced = home if where == "home" else home.parent
    replaced.rename(tmp_path / "mine")
    replaced.symlink_to(elsewhere)
    assert place.strays() == []
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    assert place.store.unsettled("closing") == []
    assert not place.paths.trashed(BOX.mailbox_id).is_symlink()
    assert not place.paths.trashed(BOX.mailbox_id).exists()
    assert list(elsewhere.iterdir()) == [elsewhere / BOX.mailbox_id]


@pytest.mark.parametrize("where", ["home", "shard"])
def test_link_where_a_mailbox_comes_back_is_set_aside(
    place: Place, tmp_path: Path, where: str
) -> None:
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    owner, home = elsewhere.stat(), place.paths.home(BOX.mailbox_id)
    if os.geteuid() == 0:
        os.chown(place.paths.mail, 5000, 5000)
    if where == "shard":
        home.parent.rmdir()
    (home if where == "home" else home.parent).symlink_to(elsewhere)
    place.take(Entry(BOX.key, 3, BOX))
    place.settler.settle()
    assert (home / "Maildir/new/early").is_file()
    assert not home.parent.is_symlink()
    assert not home.is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == owner.st_uid
    if where == "shard":
        assert home.parent.stat().st_uid == place.paths.mail.stat().st_uid
    assert [path.is_symlink() for path in place.paths.trash.iterdir()] == [True]
    assert place.strays() == []


def test_link_in_the_trash_is_no_mailbox_to_restore(place: Place, tmp_path: Path) -> None:
    place.take(Entry(BOX.key, 2, None))
    place.settler.settle()
    trashed = place.paths.trashed(BOX.mailbox_id)
    trashed.rename(tmp_path / "elsewhere")
    trashed.symlink_to(tmp_path / "elsewhere")
    place.take(Entry(BOX.key, 3, BOX))
    place.settler.settle()
    assert not place.paths.home(BOX.mailbox_id).exists()
    assert (tmp_path / "elsewhere/Maildir/new/early").is_file()
    assert list(place.paths.trash.iterdir()) == []
