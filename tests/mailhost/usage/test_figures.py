"""What is kept of Dovecot's answers, and what who asks is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailhost.config import ConfigError, HostConfig
from mailhost.dovecot import Size
from mailhost.paths import Paths
from mailhost.records import HostedDomain, PlanLimits
from mailhost.store import limits
from mailhost.usage import figures
from mailhost.usage.counting import Boxes
from mailhost.usage.database import ROW, Box
from mailhost.usage.figures import FiguresError, Usage
from tests.mailhost.usage.boxes import DOMAIN, box, database, delete, keep, make, put


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make(tmp_path)


def names(rows: list[Usage]) -> list[str]:
    return [row.account for row in rows]


def test_full_is_from_the_limit_on(paths: Paths) -> None:
    put(paths, box("a"), box("b"), box("c"))
    keep(paths, {"a": 999, "b": 1000, "c": 1001})
    assert names(figures.full(paths.root)) == ["b", "c"]
    found = figures.of_account(paths.root, "b")
    assert found == Usage(box("b").mailbox_id, "b", DOMAIN, 1000, 1, 1000, 1.0)
    assert found.full
    assert figures.of_account(paths.root, "nobody") is None


def test_who_is_full_is_read_from_an_index_alone(paths: Paths) -> None:
    with closing(sqlite3.connect(paths.usage_db)) as db:
        query = f'SELECT {ROW} FROM usage WHERE used >= "limit" ORDER BY account'  # noqa: S608
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert plan == "SCAN usage USING COVERING INDEX usage_full"


def test_each_change_is_news_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    put(paths, box("a"), box("b"), box("c"))
    keep(paths, {"a": 1, "b": 2, "c": 3})
    first = figures.read(paths.root)
    assert (names(first.rows), first.more) == (["a", "b"], True)
    second = figures.read(paths.root, first.cursor)
    assert (names(second.rows), second.more) == (["c"], False)
    assert figures.read(paths.root, second.cursor) == figures.News([], second.cursor, more=False)
    # Counted anew and found the same is no news; another figure is.
    keep(paths, {"a": 1, "b": 5}, asked_at=2.0)
    third = figures.read(paths.root, second.cursor)
    assert [(row.account, row.used) for row in third.rows] == [("b", 5)]
    known = figures.of_account(paths.root, "a")
    assert known
    assert known.asked_at == 2.0


@pytest.mark.parametrize("cursor", ["0123456789abcdef.99", "nonsense", "99", "."])
def test_all_comes_anew_when_the_cursor_is_of_another_file(paths: Paths, cursor: str) -> None:
    put(paths, box("a"))
    keep(paths, {"a": 1})
    assert names(figures.read(paths.root, cursor).rows) == ["a"]


def test_before_the_first_start_nothing_is_known(tmp_path: Path) -> None:
    assert figures.read(tmp_path, "x.1") == figures.News([], "x.1", more=False)
    assert figures.full(tmp_path) == []
    assert figures.of_account(tmp_path, "a") is None


def test_a_file_that_is_none_is_an_error_in_words(paths: Paths) -> None:
    for path in paths.usage.iterdir():
        path.unlink()
    paths.usage_db.write_text("no database " * 100)
    with pytest.raises(FiguresError, match=r"usage\.sqlite3"):
        figures.full(paths.root)


def test_an_older_answer_does_not_take_the_place_of_a_later_one(paths: Paths) -> None:
    put(paths, box("a"))
    keep(paths, {"a": 5}, asked_at=2.0)
    keep(paths, {"a": 9}, asked_at=1.0)
    known = figures.of_account(paths.root, "a")
    assert known
    assert (known.used, known.asked_at) == (5, 2.0)


def test_a_mark_that_came_while_dovecot_was_asked_stays(paths: Paths) -> None:
    put(paths, box("a"), box("b"))
    with database(paths) as db, closing(Boxes(paths.store)) as boxes:
        db.hear(["a", "b"], 1.0)
        due = db.due(2.0, 10)
        db.hear(["a"], 3.0)
        db.keep(boxes.of(["a", "b"]), {"a": Size(1, 1), "b": Size(1, 1)}, 2.0, due)
        assert list(db.due(4.0, 10)) == ["a"]
        assert db.alive_at() == 3.0


def test_who_changed_comes_before_who_was_only_not_counted_yet(paths: Paths) -> None:
    with database(paths) as db:
        db.follow([Box("0" * 32, name, DOMAIN, 1) for name in ("old1", "old2")], [], [])
        db.hear(["fresh"], 10.0)
        assert list(db.due(1e12, 2)) == ["fresh", "old1"]
        db.put_off(["fresh"], 20.0)
        assert "fresh" not in db.due(15.0, 10)
        # Another change is looked at at once.
        db.hear(["fresh"], 16.0)
        assert "fresh" in db.due(16.0, 10)


def test_who_has_room_again_is_remembered_until_postfix_was_told(paths: Paths) -> None:
    put(paths, box("a"), box("b"))
    keep(paths, {"a": 1000, "b": 1000}, asked_at=1.0)
    keep(paths, {"a": 10}, asked_at=2.0)
    with database(paths) as db:
        assert db.freed() == ["a"]
        held = Box(box("b").mailbox_id, "b", DOMAIN, 5000)
        db.follow([], [], [held])
        assert db.freed() == ["a", "b"]
        db.forget_freed(["a"])
        assert db.freed() == ["b"]
    assert figures.full(paths.root) == []


def test_the_oldest_figures_are_marked_first(paths: Paths) -> None:
    put(paths, box("a"), box("b"), box("c"))
    for asked_at, name in ((3.0, "a"), (1.0, "b"), (2.0, "c")):
        keep(paths, {name: 1}, asked_at)
    with database(paths) as db:
        assert db.mark_oldest(2.5, 1, 10.0) == 1
        assert list(db.due(10.0, 9)) == ["b"]
        assert db.mark_oldest(2.5, 9, 10.0) == 1
        assert set(db.due(10.0, 9)) == {"b", "c"}


def test_trash_takes_all_that_a_full_mailbox_holds_or_what_the_operator_says(paths: Paths) -> None:
    put(paths, box("a", 1000))
    usual, chosen = HostConfig("a.example.com"), HostConfig("a.example.com", trash_reserve=5000)
    with closing(sqlite3.connect(paths.store)) as db:

        def reserve(config: HostConfig) -> int:
            query = f"SELECT {limits.reserve(config)} FROM mailbox AS m WHERE m.name = 'a'"  # noqa: S608
            return int(db.execute(query).fetchone()[0])

        # Whatever crossed the limit, once copied: all of it lies in both folders for a moment.
        assert reserve(usual) >= 1000 + usual.message_size_limit
        assert reserve(chosen) == 5000
    with pytest.raises(ConfigError, match="trash_reserve"):
        HostConfig("a.example.com", trash_reserve=-1)


def test_both_ways_of_reading_limits_agree(paths: Paths) -> None:
    put(
        paths,
        PlanLimits("light", mailbox_bytes=111),
        HostedDomain("example.net", "n@example.net", plan="unknown"),
        HostedDomain("example.org", "o@example.org"),
        box("own", 5),
        box("plan", 0),
        box("net", 0, "example.net"),
        box("org", 0, "example.org"),
        box("nowhere", 0, "example.info"),
    )
    usual = PlanLimits("any").mailbox_bytes
    expected = {"own": 5, "plan": 111, "net": usual, "org": usual, "nowhere": usual}
    with closing(Boxes(paths.store)) as boxes:
        assert {found.account: found.limit for found in boxes.all()} == expected
        assert {found.account: found.limit for found in boxes.of(list(expected))} == expected
        found = boxes.at("plan@example.com")
        assert found
        assert found.limit == 111
        assert boxes.at("nobody@example.com") is None
        delete(paths, box("own"))
        assert "own" not in {found.account for found in boxes.all()}
        assert boxes.of(["own"]) == []
