"""A policy database of an earlier version becomes one of today's, with all that it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mailhost.policy.database import PolicyDatabase

#: Refusals as version 0 had them: one row for each, without the sender.
FIRST = """
CREATE TABLE refusal (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    "limit" INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;
CREATE INDEX refusal_by_account ON refusal (account, id);
CREATE INDEX refusal_by_change ON refusal (changed);
"""
#: 2026-11-25 09:00 UTC, and a day.
MORNING, DAY = 1_795_597_200.0, 86_400.0


def test_refusals_of_version_0_become_one_for_each_cause_and_day(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    PolicyDatabase(new).close()
    with closing(sqlite3.connect(new)) as db, closing(sqlite3.connect(old)) as early:
        for name, sql in db.execute("SELECT tbl_name, sql FROM sqlite_schema WHERE sql > ''"):
            if name not in ("refusal", "holder", "sqlite_sequence"):
                early.execute(sql)
        early.executescript(FIRST)
        early.execute("INSERT INTO settled VALUES (7)")
        early.executemany(
            "INSERT INTO refusal VALUES (?, ?, ?, ?, 100, ?, ?, ?)",
            [
                (1, "alice", MORNING, "size", 101, "a@x.test", 11),
                (2, "alice", MORNING + 1, "sender", 0, "b@x.test", 12),
                (3, "alice", MORNING + 2, "size", 103, "c@x.test", 13),
                (4, "bob", MORNING + 3, "size", 104, "d@x.test", 14),
                (5, "alice", MORNING + DAY, "size", 105, "e@x.test", 15),
            ],
        )
        early.commit()
    for _ in range(2):
        with closing(PolicyDatabase(old)) as opened:
            assert opened.query("SELECT * FROM refusal ORDER BY changed") == [
                ("alice", "2026-11-25", "sender", "", MORNING + 1, 100, 0, "b@x.test", 1, 12),
                ("alice", "2026-11-25", "size", "", MORNING + 2, 100, 103, "c@x.test", 2, 13),
                ("bob", "2026-11-25", "size", "", MORNING + 3, 100, 104, "d@x.test", 1, 14),
                ("alice", "2026-11-26", "size", "", MORNING + DAY, 100, 105, "e@x.test", 1, 15),
            ]
            assert opened.query("SELECT number FROM settled") == [(7,)]
    assert _shape(old) == _shape(new)


def _shape(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql > '' ORDER BY name")
        return [(name, " ".join(sql.replace('"', "").split())) for name, sql in rows]
