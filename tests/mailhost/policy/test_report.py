"""What the operator reads about one account at his terminal."""

from __future__ import annotations

from pathlib import Path

from mailhost.policy import report
from tests.quota.reports import ELSEWHERE, OFFICE, Daemon


def test_report_is_about_this_account_and_this_day(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.send("alice", 9)
    daemon.now += 24 * 3600
    daemon.send("alice", 3)
    daemon.send("bob", 5)
    daemon.log_in("alice", OFFICE)
    daemon.guess("alice", ELSEWHERE)
    daemon.refuse("alice", "size", 100, 101, "x@y.example")
    daemon.refuse("alice", "size", 100, 101, "x@y.example")
    daemon.refuse("bob", "sender")
    lines = list(report.lines(tmp_path, "alice@example.com", daemon.now))
    daemon.close()
    assert lines[0].endswith(": 3 of 1000 recipients")
    assert lines[1] == f"  3 from {OFFICE} (password)"
    assert any(line.startswith(f"open from {OFFICE} until") for line in lines)
    [refused] = [line for line in lines if line.startswith("refused")]
    assert refused.endswith(
        "size (limit 100, reached 101), from alice@example.com to x@y.example; 2 times that day"
    )
    assert lines[-1] == f"1 wrong passwords from {ELSEWHERE}"
