"""The lists' plain functions: judging, copies, leave links, reports, and the queue's file."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.errors import HostError
from mailhost.lists import bounces, message, posting
from mailhost.lists.directory import Directory
from mailhost.lists.leaving import member_of, token
from mailhost.lists.queue import Queue, arrived
from mailhost.paths import Paths
from mailhost.records import Address, HostedDomain, Mailbox, MailingList, PlanLimits, RecordError
from tests.mailhost.policy.logins import ALICE, HASH, Logins

KEY = "cd" * 32
LIST = MailingList(
    "club", "example.com", "Club", "o@x.test", "members", ("Ann@x.test",), "https://p.test/l", KEY
)
MAIL = b"Received: by here\r\n\tfor you\r\nFrom: Ann <ann@x.test>\r\nSubject: s\r\n\r\nbody\r\n"


def test_who_may_send_lists_more_by_his_own_plan_may_post_more(tmp_path: Path) -> None:
    logins = Logins(tmp_path)
    logins.put(
        PlanLimits("large", list_message_bytes=500_000),
        HostedDomain("big.example", "carol@big.example", plan="large"),
        Mailbox("carol", "big.example", "c" * 32, HASH),
    )
    directory = Directory(Paths(tmp_path).store)
    assert directory.most_bytes(LIST, "carol@big.example") == 500_000
    assert directory.most_bytes(LIST, "alice@example.com") == 75 * 1024
    logins.put(replace(ALICE, list_message_bytes=200_000))
    assert directory.most_bytes(LIST, "Info@example.com") == 200_000
    assert directory.most_bytes(LIST, "nobody@example.org") == 75 * 1024
    logins.put(Address("sales", "example.com", ("info@example.com",)))
    assert directory.most_bytes(LIST, "sales@example.com") == 200_000
    directory.close()
    logins.close()


def test_a_failed_write_leaves_the_queue_fit_for_the_next(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "lists.sqlite3")
    queue.take("club@example.com", ("a@x.test", "b@x.test"), b"x")
    [copy, _] = queue.waiting(9)
    queue._db.execute(
        "CREATE TRIGGER full BEFORE DELETE ON copy BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        queue.done(copy)
    queue._db.execute("DROP TRIGGER full")
    queue.done(copy)
    assert [left.member for left in queue.waiting(9)] == ["b@x.test"]
    queue.close()


def test_a_link_is_good_for_its_member_and_nobody_else() -> None:
    good = token(KEY, "Ann@x.test")
    assert member_of(KEY, good) == "ann@x.test"
    assert member_of("ab" * 32, good) is None
    other = token(KEY, "bob@x.test")
    assert member_of(KEY, f"{other.partition('.')[0]}.{good.partition('.')[2]}") is None
    assert member_of(KEY, good + "A") is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_check_of_a_link(text: str) -> None:
    assert member_of(KEY, text) is None


def test_a_copy_keeps_what_came_and_says_the_list() -> None:
    copy = message.for_member(MAIL + b"\xff.\r\n", LIST, "Ann@x.test")
    assert copy.endswith(MAIL + b"\xff.\r\n")
    own = copy[: -len(MAIL) - 4].decode()
    assert 'List-Id: "Club" <club.example.com>\r\n' in own
    assert "Precedence: list\r\n" in own


def test_headers_that_are_the_lists_to_say_are_replaced() -> None:
    posted = b"List-Unsubscribe: <x>,\r\n <y>\r\nPrecedence: bulk\r\n" + MAIL
    copy = message.for_member(posted, LIST, "Ann@x.test")
    assert b"<y>" not in copy
    assert b"bulk" not in copy
    assert copy.count(b"Precedence") == 1


@pytest.mark.parametrize(
    ("sender", "author", "posters", "allowed"),
    [
        ("ann@x.test", "ann@x.test", "members", True),
        ("ann@x.test", "eve@x.test", "members", False),
        ("eve@x.test", "ann@x.test", "members", False),
        ("o@x.test", "O@x.test", "owner", True),
        ("ann@x.test", "ann@x.test", "owner", False),
        ("eve@x.test", "eve@x.test", "anyone", True),
    ],
)
def test_who_may_post(sender: str, author: str, posters: str, allowed: bool) -> None:
    record = MailingList("club", "example.com", "Club", "o@x.test", posters, LIST.members)
    content = f"From: {author}\r\n\r\nx".encode()
    verdict = posting.judge(record, sender, content, 1000)
    assert verdict.post is allowed
    assert verdict.answer.startswith("250" if allowed else "550 5.7.1")


def test_what_is_too_large_is_refused_for_good() -> None:
    edge = MAIL + b"x" * (1000 + posting.ADDED_BYTES - message.size(MAIL))
    assert posting.judge(LIST, "ann@x.test", edge, 1000).post
    assert posting.judge(LIST, "ann@x.test", edge + b"x", 1000).answer.startswith("552 5.2.3")


def test_bounces_and_automatic_answers_are_passed_over() -> None:
    assert posting.judge(LIST, "", MAIL, 1000) == posting.Verdict(False, posting.PASSED_OVER)
    automatic = b"Auto-Submitted: auto-generated\r\n" + MAIL
    assert not posting.judge(LIST, "ann@x.test", automatic, 1000).post
    assert not posting.judge(
        LIST, "ann@x.test", b"List-Id: <club.example.com>\r\n" + MAIL, 1000
    ).post


COPY = message.for_member(MAIL, LIST, "Ann@x.test")
REPORT = (
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
    b"--b\nContent-Type: text/plain\n\nSorry.\n\n"
    b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n"
    b"Final-Recipient: rfc822; elsewhere@y.test\nAction: failed\nStatus: 5.1.1\n\n"
    b"--b\nContent-Type: message/rfc822\n\nCOPY\n--b--\n"
)


def report(copy: bytes = COPY) -> bytes:
    """Return a mail server's report that `copy` could not be delivered."""
    return REPORT.replace(b"COPY", copy.replace(b"\r\n", b"\n"))


def test_a_report_tells_by_the_copy_itself_whose_it_is() -> None:
    assert message.returned_member(report(), KEY) == "ann@x.test"
    assert message.returned_member(report().replace(b"\n", b"\r\n"), KEY) == "ann@x.test"
    header = report(message.split(COPY)[0]).replace(b"message/rfc822", b"text/rfc822-headers")
    assert message.returned_member(header, KEY) == "ann@x.test"
    folded = report(COPY.replace(b"Unsubscribe: <https", b"Unsubscribe:\r\n <https"))
    assert message.returned_member(folded, KEY) == "ann@x.test"


@pytest.mark.parametrize(
    "forged",
    [
        MAIL,
        REPORT.replace(b"elsewhere@y.test", b"ann@x.test"),
        report(MAIL).replace(b"elsewhere@y.test", b"ann@x.test"),
        report(message.for_member(MAIL, replace(LIST, leave_key="ab" * 32), "Ann@x.test")),
        report(COPY.replace(b"l/", b"l/A")),
        report().replace(b"failed", b"delayed"),
        report().replace(b"message/delivery-status", b"text/plain"),
        COPY,
    ],
    ids=["mail", "named", "other copy", "other list", "other token", "late", "no status", "copy"],
)
def test_any_other_report_says_nothing(forged: bytes) -> None:
    assert message.returned_member(forged, KEY) == ""


def test_a_list_without_a_key_counts_nothing() -> None:
    unsigned = message.for_member(MAIL, replace(LIST, leave_key=""), "Ann@x.test")
    assert message.returned_member(report(unsigned), "") == ""
    signed_by_none = report(COPY.replace(token(KEY, "ann@x.test").encode(), b"YW4.AA"))
    assert message.returned_member(signed_by_none, "") == ""


def test_what_came_back_is_read_and_forgotten_with_the_member(tmp_path: Path) -> None:
    place = tmp_path / "lists"
    assert bounces.read(tmp_path) == []
    place.mkdir()
    queue = Queue(place / "lists.sqlite3")
    for member in ("Ann@x.test", "bob@x.test", "ann@x.test"):
        queue.came_back(LIST.address, member)
    queue.came_back("other@example.com", "ann@x.test")
    found = bounces.read(tmp_path)
    assert {(one.list, one.member, one.count) for one in found} == {
        (LIST.address, "ann@x.test", 2),
        (LIST.address, "bob@x.test", 1),
        ("other@example.com", "ann@x.test", 1),
    }
    assert bounces.read(tmp_path, found[-1].last_at + 1) == []
    queue.take(LIST.address, ("ANN@x.test",), MAIL)
    assert queue.bounces(LIST.address) == {"ann@x.test": 2}
    queue.close()
    (place / "lists.sqlite3").write_bytes(b"nonsense" * 1000)
    with pytest.raises(HostError):
        bounces.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"".join(
            b"Content-Type: multipart/report; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2000)
        )
        + b"\n" * 1_000_000,
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\nA: b\n\n" * 200_000,
        b"Content-Type: multipart/report; boundary=b\n\n"
        b"--b\nContent-Type: message/delivery-status\n\n" + b"A: b\n\n" * 200_000,
        b"A: b\n" * 200_000,
    ],
    ids=["nested", "parts", "blocks", "header"],
)
def test_a_report_that_is_a_trap_keeps_the_daemon_from_nothing(content: bytes) -> None:
    begun = time.process_time()
    assert message.returned_member(content, KEY) == ""
    assert time.process_time() - begun < 3


def test_a_list_whose_bounce_address_would_be_too_long_may_not_exist() -> None:
    with pytest.raises(RecordError):
        MailingList("a" * 60, "example.com", "Club", "o@x.test")


def test_the_queue_outlives_its_process(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q")
    queue.take("club@example.com", ("a@x.test", "b@x.test"), MAIL)
    first = queue.waiting(10)[0]
    queue.begin(first)
    queue.close()
    again = Queue(tmp_path / "q")
    assert again.begun() == [first]
    assert again.content(first.post) == MAIL
    for copy in again.waiting(10):
        again.done(copy)
    assert again.waiting(10) == []
    again.close()


def test_only_a_copy_that_was_taken_as_a_whole_has_arrived(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert not arrived(log, "ab12")
    begun = "smtpd[1]: 4jZP: client=localhost[127.0.0.1], orig_queue_id=ab12\n"
    log.write_text(f"Nov 25 16:15:35 h {begun}")
    assert not arrived(log, "ab12")
    log.write_text(f"Nov 25 16:15:35 h p/{begun}Nov 25 h p/qmgr[2]: 4jZP: from=<x>, size=1\n")
    assert arrived(log, "ab12")
