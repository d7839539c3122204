"""Postfix's protocol: what is read, what costs a connection, and when answers go out."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailhost.policy import directory, ledger, protocol
from mailhost.policy.protocol import MOST_REQUEST
from mailhost.policy.request import Malformed, Reader, Request
from mailhost.records import PlanLimits, Record
from tests.conftest import tell
from tests.mailhost.policy.logins import ALICE
from tests.mailhost.policy.post import SENDER, Post, news
from tests.mailhost.policy.served import ASKED, QUESTION, Served, serve

SOAK = bool(os.environ.get("PLUSMAIL_SOAK"))
INPUTS = 1_000_000 if SOAK else 100_000


# Reading


def test_request_is_read_alike_at_first_and_later() -> None:
    reader = Reader()
    expected = Request(
        request="smtpd_access_policy",
        policy_context="submission",
        instance="1a2b.65a.1.0",
        sender="alice@example.com",
        recipient="friend@outside.test",
        size="1234",
        sasl_username="alice",
        client_address="203.0.113.7",
        client_port="51234",
        recipient_count="0",
    )
    for _ in range(3):
        assert reader.read(ASKED[:-1].encode()) == expected
    # An address with a = in it, and attributes in another order or missing.
    strange = ASKED[:-1].replace("friend@", "prvs=friend=x@").encode()
    assert reader.read(strange) == expected._replace(recipient="prvs=friend=x@outside.test")
    turned = "\n".join(reversed(ASKED[:-1].split("\n"))).encode()
    assert reader.read(turned) == expected
    assert reader.read(ASKED[:-1].encode()) == expected
    assert reader.read(b"request=smtpd_access_policy") == Request("smtpd_access_policy")


NAMES = st.sampled_from([*Request._fields, "helo_name", "", "x", "request=", "sender"])
VALUES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=12), max_size=4))
@example([[("request", "smtpd_access_policy"), ("sender", "a=b")]] * 2)
@settings(max_examples=1000 if SOAK else 200, deadline=None)
def test_reader_agrees_with_a_plain_dictionary(requests: list[list[tuple[str, str]]]) -> None:
    reader = Reader()
    for pairs in requests:
        pairs = [("request", "smtpd_access_policy"), *pairs]
        text = "\n".join(f"{name}={value}" for name, value in pairs)
        plain = dict(line.split("=", 1) for line in text.split("\n"))
        try:
            read = reader.read(text.encode())
        except Malformed:
            assert plain["request"] != "smtpd_access_policy"
        else:
            assert read._asdict() == {name: plain.get(name, "") for name in Request._fields}


@pytest.mark.long
def test_reader_is_not_led_astray_by_the_request_before() -> None:
    chance = random.Random(1)
    reader = Reader()
    lines = ASKED[:-1].split("\n")
    data = ASKED[:-1].encode()
    before: dict[str, str] = {}
    repeated = 0
    for _ in range(20_000):
        way = chance.random()
        if way < 0.1:
            data = ASKED[:-1].encode()
        elif way < 0.9:
            # One more recipient of the same message, or what only looks like it.
            value = chance.choice(
                [b"x@outside.test", b"", b"=", b"a\nsize=9", b"\xff", b"a\nrecipient=b", b"\n"]
            )
            data = re.sub(rb"(?m)^recipient=.*$", lambda _: b"recipient=" + value, data)  # noqa: B023
        else:
            data = bent(chance, lines)
        text = data.decode("utf-8", "backslashreplace")
        try:
            plain = dict(line.split("=", 1) for line in text.split("\n"))
        except ValueError:
            plain = {}
        if (recipient := reader.repeated(data)) is not None:
            assert plain == before | {"recipient": recipient}
            repeated += 1
            continue
        try:
            read = reader.read(data)
        except Malformed:
            assert plain.get("request") != "smtpd_access_policy"
        else:
            assert read._asdict() == {name: plain.get(name, "") for name in Request._fields}
        before = plain
    assert repeated > 1000


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"request=", b"request=junk", b"\xff\xfe", b"=", b"sender=a", b"a=b\nc", b"\0=\0"],
)
def test_what_is_no_request_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Reader().read(data)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_input_brings_the_parser_or_the_rules_down(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests bent in every way: each is answered or malformed, and memory stays flat."""
    monkeypatch.setattr(directory, "_MOST_KEPT", 1000)
    monkeypatch.setattr(ledger, "_MOST_MESSAGES", 200)
    logging.getLogger("mailhost.policy").setLevel(logging.ERROR)
    chance = random.Random(1)
    reader = Reader()
    lines = ASKED[:-1].split("\n")
    resident = []
    for n in range(INPUTS):
        with suppress(Malformed):
            assert "\n" not in post.rules.answer(reader.read(bent(chance, lines)), post.now)
        if n % 20 == 0:
            post.db.flush()
            post.directory.refresh()
            post.now += 0.1
        if n % 2000 == 0:
            post.ledger.expire(post.now)
        if n % (INPUTS // 10) == INPUTS // 10 - 1:
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    logging.getLogger("mailhost.policy").setLevel(logging.NOTSET)
    tell(f"resident after each tenth of {INPUTS} inputs, in MB: {[r >> 20 for r in resident]}")
    # In the first tenths all that is kept fills up.
    assert resident[-1] < resident[2] + 8_000_000, resident


def bent(chance: random.Random, lines: list[str]) -> bytes:
    """Return a request with some of its lines, bytes and values changed."""
    some = [line for line in lines if chance.random() < 0.97]
    kinds = ["relay", "rcpt", "submission", "end", "end_submission"]
    some.append(f"policy_context={chance.choice(kinds)}")
    for _ in range(chance.randrange(3)):
        spot = chance.randrange(len(some))
        name, _, value = some[spot].partition("=")
        some[spot] = f"{name}={chance.choice(odd)(chance, value)}"
    if chance.random() < 0.3:
        chance.shuffle(some)
    data = bytearray("\n".join(some).encode("utf-8", "surrogateescape"))
    if chance.random() < 0.2:
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.randrange(1, len(data))] if chance.random() < 0.05 else data)


odd: list[Callable[[random.Random, str], str]] = [
    lambda chance, value: "",
    lambda chance, value: value * chance.randrange(1, 200),
    lambda chance, value: chance.randbytes(chance.randrange(40)).decode("latin-1"),
    lambda chance, value: str(chance.randrange(-(2**70), 2**70)),
    lambda chance, value: f"{chance.randrange(10**6)}@outside.test",
    lambda chance, value: f"{chance.randrange(500):x}.65a.{chance.randrange(10**6):x}.0",
    lambda chance, value: SENDER,
    lambda chance, value: "@" * chance.randrange(5),
    lambda chance, value: "\udc80\u3042=" + value,
]


# Connections


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.close()


def test_questions_are_answered_in_order_however_they_come(post: Post) -> None:
    async def test(served: Served) -> None:
        reader, writer = await served.connect()
        refused = QUESTION.replace(b"sender=alice", b"sender=nobody")
        for question in (QUESTION, refused, QUESTION):
            for n in range(len(question)):
                writer.write(question[n : n + 1])
                await asyncio.sleep(0)
        writer.write((QUESTION + refused) * 20)
        answers = b""
        while answers.count(b"\n\n") < 43:
            answers += await asyncio.wait_for(reader.read(65536), 5)
        lines = answers.decode().split("\n\n")
        passed = [line == "action=DUNNO" for line in lines[:-1]]
        assert passed == [True, False, True, *[True, False] * 20]
        assert post.used() == 1
        writer.close()

    serve(post, test)


@pytest.mark.parametrize(
    "data",
    [
        b"\n\n",
        b"GET / HTTP/1.1\n\n",
        b"request=junk\n\n",
        b"x" * (MOST_REQUEST + 1),
        b"sender=" + b"x" * 1_000_000,
        b"\n".join([b"a=b"] * 30_000),
        QUESTION[:-2] + b"\r\n\n",
        b"\xff" * 100 + b"\n\n",
    ],
)
def test_nonsense_costs_its_connection_and_no_other(post: Post, data: bytes) -> None:
    async def test(served: Served) -> None:
        reader, writer = await served.connect()
        answer = await served.ask(data)
        assert answer == b"" or data.endswith(b"\r\n\n")
        writer.write(QUESTION)
        assert await asyncio.wait_for(reader.read(4096), 5) == b"action=DUNNO\n\n"
        writer.close()

    serve(post, test)


def test_slow_and_idle_connections_are_ended(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)

    async def test(served: Served) -> None:
        slow_reader, slow_writer = await served.connect()
        _idle_reader, idle_writer = await served.connect()
        await asyncio.sleep(0.01)
        for _ in range(8):
            # Bytes that trickle do not prolong it.
            slow_writer.write(b"r")
            await asyncio.sleep(0.05)
            served.server.expire()
            if len(served.server.connections) == 1:
                break
        assert await slow_reader.read(10) == b""
        assert len(served.server.connections) == 1
        monkeypatch.setattr(protocol, "IDLE", 0.0)
        idle_writer.write(QUESTION)
        await asyncio.sleep(0.05)
        served.server.expire()
        await asyncio.sleep(0)
        assert not served.server.connections
        for writer in (slow_writer, idle_writer):
            writer.close()

    serve(post, test)


def test_answers_that_nobody_fetches_end_the_connection(post: Post) -> None:
    async def test(served: Served) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, served.path)
            with suppress(ConnectionError):
                for _ in range(10_000):
                    await asyncio.wait_for(loop.sock_sendall(client, QUESTION * 20), 5)
                pytest.fail("it never ended")

    serve(post, test)


def test_more_connections_than_allowed_are_refused(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 2)

    async def test(served: Served) -> None:
        streams = [await served.connect() for _ in range(2)]
        await asyncio.sleep(0.01)
        assert await served.ask() == b""
        streams[0][1].write(QUESTION)
        assert await streams[0][0].read(100) == b"action=DUNNO\n\n"
        for _, writer in streams:
            writer.close()

    serve(post, test)


def test_nothing_is_answered_before_it_is_on_record(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(served: Served) -> None:
        assert await served.ask() == b"action=DUNNO\n\n"
        other = QUESTION.replace(b"friend@", b"other@")
        end = QUESTION.replace(b"=submission", b"=end_submission")
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", lambda *_: 0)
            for _ in range(2):
                assert await served.ask(other) == b""
        post.db.flush()
        assert await served.ask(other) == b"action=DUNNO\n\n"
        post.db._db.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(post.db.path)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                assert await served.ask(end) == b""
            lock.rollback()
        post.db.flush()
        assert await served.ask(end) == b"action=DUNNO\n\n"
        post.restart()
        assert post.used() == post.on_record() == 2

    serve(post, test)


def test_error_of_ours_costs_one_connection(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(served: Served) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(post.directory, "account", lambda _: 1 / 0)
            assert await served.ask() == b""
        assert await served.ask() == b"action=DUNNO\n\n"

    serve(post, test)


@pytest.mark.long
def test_one_more_recipient_of_a_message_is_judged_like_the_first(
    post: Post, tmp_path: Path
) -> None:
    """By the quick way and by the rules alone: the same answers and counts, whatever comes."""
    chance = random.Random(1)
    plain = Post(tmp_path / "other")
    recipients = [*(f"p{n}@outside.test" for n in range(9)), "P1@OUTSIDE.test", "x" * 300]
    recipients += ["bob@example.com", "BOB@example.com", "news@example.com", ""]

    def both(*records: Record) -> None:
        post.put(*records)
        plain.put(*records)

    async def test(served: Served) -> None:
        reader, writer = await served.connect()
        most = 0
        for number in range(300):
            instance = f"a.65a.{number:x}.0".encode()
            size = chance.choice([b"10", b"10", b"100000", b"4000000"])
            sender = chance.choice([ALICE.address, ALICE.address, "", "info@example.com", "x@y.z"])
            for _ in range(chance.randrange(1, 12)):
                question = QUESTION.replace(b"1a2b.65a.1.0", instance).replace(b"1234", size)
                question = question.replace(
                    b"sender=alice@example.com", f"sender={sender}".encode()
                )
                recipient = chance.choice(recipients).encode()
                question = question.replace(b"friend@outside.test", recipient)
                writer.write(question)
                answer = await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
                action = plain.rules.answer(Reader().read(question[:-2]), plain.now)
                assert answer == f"action={action}\n\n".encode()
                if chance.random() < 0.03:
                    both(replace(ALICE, recipients_per_message=chance.randrange(4, 8)))
                if chance.random() < 0.02:
                    post.now = plain.now = post.now + 700
            assert post.used() == plain.used()
            most = max(most, post.used())
        assert most > 5
        writer.close()

    both(news(), PlanLimits("light", recipients_per_message=6, recipients_per_day=400))
    serve(post, test)
    plain.close()
