"""What Host says of a server whose store or files are out of order; no servers run."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailhost.config import ConfigError, HostConfig
from mailhost.host import Busy, Host, HostError
from mailhost.instance import InstanceError
from mailhost.maps import MapError
from mailhost.records import Entry, Mailbox
from mailhost.render import RenderError

HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
BOX = Mailbox("info", "example.com", "1" * 32, HASH)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    HostConfig("mail1.plusmail.test").save(tmp_path)
    for name in ("store", "mail", "trash", "tls", "maps"):
        (tmp_path / name).mkdir()
    with Host(tmp_path) as made:
        yield made


def write(host: Host, *entries: Entry) -> None:
    """Put entries into the store alone."""
    with host._store.transaction():
        host._store.take(entries, host._now())


CALLS: dict[str, Callable[[Host], object]] = {
    "apply": lambda host: host.apply([Entry(BOX.key, 1, BOX)]),
    "records": lambda host: list(host.records()),
    "record": lambda host: host.record(BOX.key),
    "highest_change": lambda host: host.highest_change(),
    "trash": lambda host: host.trash(),
    "purge": lambda host: host.purge([BOX.mailbox_id]),
    "lookup": lambda host: host.lookup(BOX.address),
    "differences": lambda host: host.differences(),
    "repair": lambda host: host.repair(),
    "install_certificates": lambda host: host.install_certificates(),
    "load": lambda host: host.load([BOX]),
}


@pytest.mark.parametrize("name", CALLS)
def test_store_that_is_no_database_is_the_operators_matter(host: Host, name: str) -> None:
    host.paths.store.write_text("rubbish" * 1000)
    with host.lock(), pytest.raises(HostError, match="store: file is not a database"):
        CALLS[name](host)


@pytest.mark.parametrize("name", CALLS)
def test_store_that_cannot_be_made_is_the_operators_matter(host: Host, name: str) -> None:
    host.paths.store.parent.rmdir()
    with host.lock(), pytest.raises(HostError, match=r"mail\.db: No such file or directory"):
        CALLS[name](host)


def test_full_disk_leaves_the_store_as_it_was_and_usable(host: Host) -> None:
    full = host._store._db.execute("PRAGMA page_count").fetchone()[0]
    host._store._db.execute(f"PRAGMA max_page_count = {full}")
    boxes = [Mailbox(f"box{n}", "example.com", f"{n:032x}", HASH) for n in range(500)]
    entries = [Entry(box.key, n, box) for n, box in enumerate(boxes, 1)]
    with host.lock(), pytest.raises(HostError, match="store: database or disk is full"):
        host.apply(entries)
    host._store._db.execute("PRAGMA max_page_count = 1000000")
    assert host.highest_change() == 0
    write(host, *entries)
    assert host.highest_change() == len(entries)


def test_store_locked_by_somebody_else_is_said(host: Host) -> None:
    host._store._db.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(host.paths.store)) as other:
        other.execute("BEGIN IMMEDIATE")
        with host.lock(), pytest.raises(HostError, match="store: database is locked"):
            host.apply([Entry(BOX.key, 1, BOX)])


@pytest.mark.parametrize("value", ["{", '{"name": "info"}'])
def test_record_changed_by_hand_is_named(host: Host, value: str) -> None:
    write(host, Entry(BOX.key, 1, BOX))
    host._store._db.execute("UPDATE record SET value = ?", (value,))
    with pytest.raises(HostError, match="mailbox:info cannot be read"):
        list(host.records())


def test_lock_that_cannot_be_taken_is_the_operators_matter(host: Host) -> None:
    host.paths.lock.mkdir()
    with pytest.raises(HostError, match=r"apply\.lock: Is a directory"), host.lock():
        pass


def test_error_of_the_caller_is_left_alone(host: Host) -> None:
    with pytest.raises(sqlite3.Error), host.lock():
        raise sqlite3.OperationalError("the caller's own")


def test_record_says_what_the_store_holds_and_since_when(host: Host) -> None:
    assert host.record(BOX.key) == (0, None)
    write(host, Entry(BOX.key, 3, BOX))
    assert host.record(BOX.key) == (3, BOX)
    write(host, Entry(BOX.key, 7, None))
    assert host.record(BOX.key) == (7, None)


def test_trash_says_what_a_purge_needs(host: Host) -> None:
    write(host, Entry(BOX.key, 3, BOX))
    before = host._now().replace(microsecond=0)
    write(host, Entry(BOX.key, 7, None))
    (item,) = host.trash()
    assert (item.mailbox_id, item.name, item.address) == (BOX.mailbox_id, BOX.name, BOX.address)
    assert before <= item.deleted_at <= host._now()


def test_purge_unlinks_a_link_and_goes_on_after_an_error(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [Mailbox(f"box{n}", "example.com", f"{n:032x}", HASH) for n in range(4)]
    link, stuck, plain, _ = ids = [box.mailbox_id for box in boxes]
    with host._store.transaction():
        for id_ in ids:
            host._store.trash.add_stray(id_, host._now())
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/file").touch()
    host.paths.trashed(link).symlink_to(tmp_path / "victim")
    for id_ in (stuck, plain):
        (host.paths.trashed(id_) / "Maildir").mkdir(parents=True)
        host.paths.label(id_).touch()
    remove = shutil.rmtree

    def rmtree(path: Path) -> None:
        if path.name == stuck:
            raise PermissionError(1, "Operation not permitted")
        remove(path)

    monkeypatch.setattr("mailhost.host.shutil.rmtree", rmtree)
    with host.lock():
        with pytest.raises(HostError, match=rf"trash: {stuck} \(Operation not permitted\)$"):
            host.purge(ids)
        assert [item.mailbox_id for item in host.trash()] == [stuck]
        assert sorted(path.name for path in host.paths.trash.iterdir()) == [stuck, f"{stuck}.json"]
        assert (tmp_path / "victim/file").exists()
        monkeypatch.undo()
        host.purge(ids)
    assert list(host.paths.trash.iterdir()) == []


@pytest.mark.parametrize("kind", [Busy, ConfigError, InstanceError, MapError, RenderError])
def test_every_trouble_of_the_server_is_a_host_error(kind: type[Exception]) -> None:
    assert issubclass(kind, HostError)
