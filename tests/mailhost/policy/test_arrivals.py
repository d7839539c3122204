"""A question that waits for a login's outcome, and all that does not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailhost.policy import arrivals, protocol
from mailhost.policy.arrivals import Arrivals
from tests.mailhost.policy.logins import ELSEWHERE, HOME, WORK
from tests.mailhost.policy.post import Post
from tests.mailhost.policy.served import QUESTION, Served, serve

OK, DUNNO = b"action=OK\n\n", b"action=DUNNO\n\n"
REFUSED = b"action=550 5.7.1 Receive your mail first"
#: Seconds: longer than any answer takes on a busy machine, and far less than who waits in vain.
AT_ONCE, IN_VAIN = 2.0, 4.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_WAIT", IN_VAIN)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    made = Post(tmp_path)
    yield made
    made.close()


def relay(process: int = 1, source: str = HOME) -> bytes:
    """Return Postfix's question about a recipient elsewhere, without a password."""
    asked = QUESTION.replace(b"sasl_username=alice", b"sasl_username=")
    asked = asked.replace(b"context=submission", b"context=relay")
    asked = asked.replace(b"instance=1a2b.", f"instance={process:x}.".encode())
    return asked.replace(b"client_address=203.0.113.7", f"client_address={source}".encode())


async def seconds(served: Served, question: bytes) -> tuple[bytes, float]:
    """Return the answer, and how long it took."""
    begin = time.monotonic()
    answer = await served.ask(question)
    return answer, time.monotonic() - begin


def test_who_sends_before_dovecot_has_told_of_his_login_is_let_through(post: Post) -> None:
    async def test(served: Served) -> None:
        assert post.allow() == 0
        asked = asyncio.create_task(seconds(served, relay()))
        await asyncio.sleep(0.2)
        # Nobody else waits meanwhile, nor who asks something else.
        here = relay(8).replace(b"context=relay", b"context=rcpt")
        for other in (relay(2, WORK), QUESTION, here):
            answer, took = await seconds(served, other)
            assert took < AT_ONCE
            assert answer.startswith(REFUSED if other == relay(2, WORK) else DUNNO)
        assert not asked.done()
        post.report(success=True)
        answer, took = await asked
        assert answer == OK
        assert 0.2 <= took < AT_ONCE

    serve(post, test)


def test_wrong_password_is_refused_when_it_is_told(post: Post) -> None:
    async def test(served: Served) -> None:
        assert post.allow() == 0
        asked = asyncio.create_task(seconds(served, relay()))
        await asyncio.sleep(0.1)
        post.report(success=False)
        answer, took = await asked
        assert answer.startswith(REFUSED)
        assert took < AT_ONCE
        assert (await seconds(served, relay(3)))[1] < AT_ONCE

    serve(post, test)


def test_outcome_that_never_comes_costs_a_moment_and_no_more(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_WAIT", 0.3)

    async def test(served: Served) -> None:
        post.allow()
        answer, took = await seconds(served, relay())
        assert answer.startswith(REFUSED)
        assert 0.3 <= took < AT_ONCE
        post.now += arrivals.PATIENCE + 1
        assert (await seconds(served, relay(4)))[1] < AT_ONCE
        assert not post.arrivals._waiting

    serve(post, test)


def test_second_login_from_there_is_waited_for_too(post: Post) -> None:
    async def test(served: Served) -> None:
        post.allow("bob")
        post.allow()
        asked = asyncio.create_task(seconds(served, relay()))
        await asyncio.sleep(0.1)
        # Behind the same address bob comes first: he is not who sends.
        post.report("bob", success=True)
        await asyncio.sleep(0.1)
        assert not asked.done()
        post.report(success=True)
        assert (await asked)[0] == OK

    serve(post, test)


@pytest.mark.parametrize(
    "fields",
    [{"protocol": "smtp"}, {"listener": "2144", "lport": "2144"}, {"remote": ""}],
    ids=str,
)
def test_login_that_opens_nothing_is_not_waited_for(post: Post, fields: dict[str, str]) -> None:
    async def test(served: Served) -> None:
        post.allow(**fields)
        answer, took = await seconds(served, relay())
        assert answer.startswith(REFUSED)
        assert took < AT_ONCE

    serve(post, test)


def test_what_comes_behind_a_waiting_question_keeps_its_place(post: Post) -> None:
    async def test(served: Served) -> None:
        post.allow()
        reader, writer = await served.connect()
        writer.write(relay() + QUESTION + relay(5, WORK))
        await asyncio.sleep(0.1)
        writer.write(QUESTION[:30])
        await asyncio.sleep(0.1)
        post.report(success=True)
        writer.write(QUESTION[30:])
        answers = b""
        while answers.count(b"\n\n") < 4:
            answers += await asyncio.wait_for(reader.read(4096), 5)
        first, second, third, fourth, _ = answers.split(b"\n\n")
        assert (first, second, fourth) == (OK[:-2], DUNNO[:-2], DUNNO[:-2])
        assert third.startswith(REFUSED)
        writer.close()

    serve(post, test)


def test_who_hangs_up_waits_no_more(post: Post) -> None:
    async def test(served: Served) -> None:
        post.allow()
        _reader, writer = await served.connect()
        writer.write(relay())
        await asyncio.sleep(0.1)
        for connection in list(served.server.connections):
            connection.abort()
        await asyncio.sleep(0.1)
        writer.close()
        assert not post.arrivals._waiting
        post.report(success=True)
        assert (await seconds(served, relay(6)))[0] == OK

    serve(post, test)


def test_many_logins_of_an_attacker_hold_up_few_of_his_own_questions(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_WAIT", AT_ONCE)

    async def test(served: Served) -> None:
        for n in range(1000):
            post.allow(f"guess{n}", ELSEWHERE)
        asked = [seconds(served, relay(100 + n, ELSEWHERE)) for n in range(40)]
        found = await asyncio.gather(*asked)
        assert all(answer.startswith(REFUSED) for answer, _ in found)
        waited = [took for _, took in found if took >= AT_ONCE]
        assert len(waited) == arrivals.MOST_WAITING_HERE
        assert (await seconds(served, relay(7)))[1] < AT_ONCE

    serve(post, test)


def test_memory_is_bounded_whoever_logs_in() -> None:
    kept = Arrivals()
    for n in range(3 * arrivals.MOST_NETWORKS):
        kept.begun(f"2001:db8:{n:x}::/64", 0.0)
        kept.begun(HOME, n / 1000)
    assert len(kept._begun) == arrivals.MOST_NETWORKS
    assert len(kept._begun[HOME]) == arrivals.MOST_LOGINS
    waiting = [
        kept.wait(f"10.0.0.{n}", lambda n=n: None)  # type: ignore[misc]
        for n in range(2 * arrivals.MOST_WAITING)
    ]
    assert waiting.count(True) == arrivals.MOST_WAITING
