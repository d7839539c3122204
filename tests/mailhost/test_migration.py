"""A store of an earlier version becomes one of today's, with all that it holds."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mailhost.records import Entry, HostedDomain, Mailbox, MailingList
from mailhost.store import Store
from tests.earlier import SCHEMA

LIST = MailingList("club", "example.com", "Club", "o@x.test")
DOMAIN = HostedDomain("example.com", "example@example.com")
BOX = Mailbox("alice", "example.com", "a" * 32, "{SHA512-CRYPT}$6$salt$" + "a" * 86)


def _shape(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [(name, _in_one_form(sql)) for name, sql in rows]


def _in_one_form(sql: str) -> str:
    """Return a statement without the spaces that ALTER TABLE sets elsewhere."""
    return re.sub(r" ?([(),]) ?", r"\1", " ".join(sql.replace('"', "").split()))


def _old(path: Path) -> None:
    """Make a store of version 1; only a version in between could have lists in it."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA.read_text())
        db.execute("INSERT INTO dirty VALUES ('aliases', 'a@example.com')")
        for record in (LIST, DOMAIN):
            value = json.dumps(record.value())
            db.execute("INSERT INTO record VALUES (?, 1, ?)", (record.key, value))
        db.execute("INSERT INTO domain VALUES (?, ?, '')", (DOMAIN.name, DOMAIN.fixed_address))


def test_a_store_of_version_1_gets_its_lists(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    _old(old)
    Store(new).close()
    with closing(Store(old)) as store:
        assert store.lines.at("transport", LIST.address)
        assert store.lines.at("mailboxes", LIST.bounce_address) == LIST.bounce_address
        assert "a@example.com" in store.lines.dirty()["aliases"]
        assert set(store.lines.dirty()["transport"]) == set(LIST.addresses)
    assert _shape(old) == _shape(new)


def test_mailboxes_of_an_earlier_version_have_no_ftp_until_it_is_switched_on(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old"
    _old(old)
    value = BOX.value()
    # Earlier records do not say.
    del value["ftp"], value["ssh"]
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("INSERT INTO record VALUES (?, 2, ?)", (BOX.key, json.dumps(value)))
        db.execute(
            "INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, 0, 2, 'open')",
            (BOX.mailbox_id, BOX.name, BOX.domain, BOX.address, BOX.password_hash),
        )
    with closing(Store(old)) as store:
        assert store.records.get(BOX.key) == BOX
        assert list(store.projections.recorded("mailbox")) == list(
            store.projections.projected("mailbox")
        )
        assert list(store.ftp.all()) == []
        now = datetime(2026, 11, 25, tzinfo=UTC)
        news = replace(DOMAIN, home="example.com"), replace(BOX, ftp=True)
        with store.transaction():
            store.take([Entry(record.key, 3, record) for record in news], now)
        assert [user.name for user in store.ftp.all()] == ["alice"]
        assert store.ftp.dirty() == ["alice"]
