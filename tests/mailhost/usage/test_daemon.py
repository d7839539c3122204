"""What the usage daemon hears, what it misses, and how it follows the records."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.paths import Paths
from mailhost.policy.directory import Directory
from mailhost.records import Address, HostedDomain, MailingList, PlanLimits
from mailhost.usage import dict as protocol
from mailhost.usage import figures
from mailhost.usage.counting import Boxes
from mailhost.usage.dict import NOTHING, PING, Connection
from mailhost.usage.keeper import Keeper, Marks
from mailhost.usage.known import STALE, Known
from mailhost.usage.missed import changed_since
from tests.mailhost.usage.boxes import DOMAIN, box, database, delete, keep, make, put
from tests.servers import wait_for


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make(tmp_path)


# The dict protocol


def talk(said: list[bytes]) -> tuple[bytes, list[str]]:
    """Say this to the daemon, piece by piece; return its answers and what it marked."""
    marked: list[str] = []

    async def conversation() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(marked.append), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            for piece in said:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            writer.write_eof()
            return await reader.read()
        finally:
            writer.close()
            server.close()

    return asyncio.run(conversation()), marked


#: As Dovecot 2.3.19 says it.
TOLD = (
    b"H3\t2\t0\t\tusage\nB1\tbox0\nS1\tpriv/quota/storage\t7713\nS1\tpriv/quota/messages\t1\nC1\n"
)


def test_each_transaction_marks_its_mailbox_and_is_answered() -> None:
    assert talk([TOLD]) == (b"O1\n", ["box0"])
    assert talk([TOLD, b"B2\tbox1\nC2\n"]) == (b"O1\nO2\n", ["box0", "box1"])
    assert talk([TOLD[n : n + 1] for n in range(len(TOLD))]) == (b"O1\n", ["box0"])


def test_a_question_whether_anybody_is_there_is_answered() -> None:
    assert talk([PING]) == (NOTHING, [])


def test_what_is_no_mailbox_is_passed_over() -> None:
    assert talk([b"B1\t../../etc\nC1\nB2\nC2\nB3\tbox\xff\nC3\n"]) == (b"O1\nO2\nO3\n", [])


def test_a_line_without_an_end_costs_the_connection() -> None:
    with pytest.raises(ConnectionResetError):
        talk([b"x" * (protocol.MOST_LINE + 1), b"\n", TOLD])


# What changed while nobody listened


def test_mailboxes_are_found_by_the_times_of_their_directories(paths: Paths) -> None:
    put(paths, *map(box, ("delivered", "deleted", "deep", "rest", "never", "link")))
    for name in ("delivered", "deleted", "deep", "rest"):
        for directory in ("Maildir/new", "Maildir/cur", "Maildir/.Trash/cur", "sdbox/a/dbox-Mails"):
            (paths.home(box(name).mailbox_id) / directory).mkdir(parents=True)
    home = paths.home(box("link").mailbox_id)
    home.parent.mkdir(exist_ok=True)
    home.symlink_to(paths.home(box("delivered").mailbox_id))
    mail = paths.home(box("deleted").mailbox_id) / "Maildir/.Trash/cur/1"
    mail.touch()
    past = time.time() - 1000
    for path in sorted(paths.mail.rglob("*")):
        os.utime(path, (past, past), follow_symlinks=False)
    (paths.home(box("delivered").mailbox_id) / "Maildir/new/1").touch()
    mail.unlink()
    (paths.home(box("deep").mailbox_id) / "sdbox/a/dbox-Mails/u.1").touch()
    with closing(Boxes(paths.store)) as boxes:
        found = sorted(changed_since(paths, boxes.all(), past + 1))
    assert found == ["deep", "deleted", "delivered"]


# The records


@contextmanager
def keeper(paths: Paths) -> Iterator[Marks]:
    """Run the thread that counts; Dovecot is not asked about mailboxes without a directory."""
    marks = Marks()
    thread = Keeper(paths, marks)
    thread.start()
    try:
        yield marks
    finally:
        thread.stop()
        assert not thread.is_alive()


def known(paths: Paths) -> dict[str, int]:
    """Return every mailbox that has a figure, and its limit."""
    return {row.account: row.limit for row in figures.read(paths.root).rows}


def follows(paths: Paths, expected: dict[str, int]) -> bool:
    return wait_for(lambda: known(paths) == expected)


def test_mailboxes_come_and_go_and_limits_change(paths: Paths) -> None:
    put(paths, box("a"), box("b", 0), box("c"))
    usual = PlanLimits("any").mailbox_bytes
    with keeper(paths) as marks:
        assert follows(paths, {"a": 1000, "b": usual, "c": 1000})
        keep(paths, {"b": 500}, asked_at=time.time())
        put(paths, PlanLimits("light", mailbox_bytes=400), box("d", 7))
        marks.add("d")
        assert follows(paths, {"a": 1000, "b": 400, "c": 1000, "d": 7})
        assert [row.account for row in figures.full(paths.root)] == ["b"]
        delete(paths, box("c"), box("a"))
        put(paths, replace(box("d", 8), name="renamed"), replace(box("a"), mailbox_id="f" * 32))
        marks.add("a")
        assert follows(paths, {"a": 1000, "b": 400, "renamed": 8})
        found = figures.of_account(paths.root, "a")
        assert found
        assert found.mailbox_id == "f" * 32
    with database(paths) as db:
        assert db.marked() == 0


# What the policy daemon makes of it


def test_nobody_is_full_without_figures_or_with_old_ones(paths: Paths) -> None:
    put(paths, box("a"))
    keep(paths, {"a": 1000})
    with closing(Known(paths.usage / "none")) as nothing:
        nothing.refresh(1.0)
        assert not nothing.is_current(1.0)
    with closing(Known(paths.usage_db)) as figures_known, database(paths) as db:
        db.hear([], 1000.0)
        assert figures_known.refresh(1000.0)
        assert not figures_known.refresh(1000.0)
        assert figures_known.is_full(box("a").mailbox_id)
        assert not figures_known.is_full("f" * 32)
        assert figures_known.is_current(1000.0 + STALE)
        assert not figures_known.is_current(1001.0 + STALE)
        db.hear([], 2000.0)
        assert figures_known.refresh(2000.0)
        assert figures_known.is_current(2000.0)


def test_an_address_is_full_when_every_place_it_leads_to_is(paths: Paths) -> None:
    full, free = f"full@{DOMAIN}", f"free@{DOMAIN}"
    put(
        paths,
        box("full"),
        box("free"),
        box("kept"),
        HostedDomain("example.net", full),
        Address("one", DOMAIN, (full,)),
        Address("two", DOMAIN, (f"one@{DOMAIN}", f"kept@{DOMAIN}")),
        Address("kept", DOMAIN, (f"kept@{DOMAIN}", f"one@{DOMAIN}")),
        Address("mixed", DOMAIN, (full, free)),
        Address("away", DOMAIN, (full, "full@elsewhere.test")),
        Address("", "example.net", (full,)),
        Address("posted", DOMAIN, (full, f"list@{DOMAIN}")),
        MailingList("list", DOMAIN, "List", full, "anyone", (full,)),
        *(Address(f"step{n}", DOMAIN, (f"step{n + 1}@{DOMAIN}",)) for n in range(10)),
        Address("step10", DOMAIN, (full,)),
    )
    keep(paths, {"full": 1000, "free": 10, "kept": 2000})
    with database(paths) as db:
        db.hear([], 50.0)

    with closing(Known(paths.usage_db)) as of, closing(Directory(paths.store, of)) as directory:

        def is_full(address: str, now: float = 50.0) -> bool:
            return directory.is_full(address, now)

        for local_part in ("full", "one", "two", "kept", "step1"):
            assert is_full(f"{local_part}@{DOMAIN}"), local_part
        assert is_full("postmaster@example.net")
        for local_part in ("free", "mixed", "away", "posted", "list", "step0", "nobody"):
            assert not is_full(f"{local_part}@{DOMAIN}"), local_part
        assert not is_full("anybody@example.net")
        assert not is_full(full, 51.0 + STALE)
        keep(paths, {"full": 10}, asked_at=3.0)
        assert not is_full(full, 50.1)
        assert not is_full(f"two@{DOMAIN}", 50.1)
    with closing(Directory(paths.store)) as directory:
        assert not directory.is_full(f"kept@{DOMAIN}", 50.0)
