"""A store of an earlier version becomes one of today's, with all that it holds."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from mailhost.records import HostedDomain, MailingList
from mailhost.store import Store

LIST = MailingList("club", "example.com", "Club", "o@x.test")
DOMAIN = HostedDomain("example.com", "example@example.com")


def _shape(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [(name, " ".join(sql.replace('"', "").split())) for name, sql in rows]


def _old(path: Path) -> None:
    """Take a store back to version 1, as far as the migration can tell."""
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "DROP VIEW map_transport; DROP VIEW map_mailboxes; DROP VIEW map_aliases;"
            "DROP VIEW map_refused; DROP TABLE list; DROP TABLE dirty;"
            "CREATE TABLE dirty (map TEXT NOT NULL CHECK (map IN ('domains', 'mailboxes',"
            " 'aliases', 'refused')), key TEXT NOT NULL, PRIMARY KEY (map, key))"
            " STRICT, WITHOUT ROWID;"
            "CREATE VIEW map_mailboxes (key, value) AS SELECT address, address FROM mailbox;"
            "CREATE VIEW map_refused (key, value) AS SELECT address, 'x' FROM trash;"
            "CREATE VIEW map_aliases (key, value) AS SELECT key, key FROM map_refused;"
            "INSERT INTO dirty VALUES ('aliases', 'a@example.com'); PRAGMA user_version = 1;"
        )
        for record in (LIST, DOMAIN):
            db.execute(
                "INSERT INTO record VALUES (?, 1, ?)", (record.key, json.dumps(record.value()))
            )
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
