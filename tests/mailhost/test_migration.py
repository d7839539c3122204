"""A store of an earlier version becomes one of today's, with all that it holds."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from mailhost.records import HostedDomain, MailingList
from mailhost.store import Store
from tests.earlier import SCHEMA

LIST = MailingList("club", "example.com", "Club", "o@x.test")
DOMAIN = HostedDomain("example.com", "example@example.com")


def _shape(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [(name, " ".join(sql.replace('"', "").split())) for name, sql in rows]


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
