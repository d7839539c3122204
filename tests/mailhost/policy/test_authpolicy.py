"""Dovecot's questions over HTTP: who is answered what, and what strangers and nonsense cost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mailhost.policy import authpolicy
from mailhost.policy.authpolicy import Connection, read_question
from mailhost.policy.throttle import PLACE
from tests.conftest import tell
from tests.mailhost.policy.logins import ELSEWHERE, HOME, KEY, WORK, Logins

SOAK = bool(os.environ.get("PLUSMAIL_SOAK"))


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    made = Logins(tmp_path)
    yield made
    made.close()


def who(logins: Logins, source: str = HOME) -> list[str]:
    return [grant.account for grant in logins.grants.valid(source, logins.now)]


# What opens the way for mail


def test_login_by_pop_or_imap_opens_the_way(logins: Logins) -> None:
    for protocol in ("pop3", "pop3s", "imap", "imaps"):
        port = str(getattr(logins.config, f"{protocol}_port"))
        logins.report(success=True, protocol=protocol.rstrip("s"), lport=port, listener=port)
        assert who(logins) == ["alice"]
        logins.now += 3600


@pytest.mark.long
@pytest.mark.parametrize(
    "fields",
    [
        {"success": False},
        {"success": False, "policy_reject": True},
        {"success": True, "policy_reject": True},
        {"success": "true"},
        {"success": 1},
        {"orig": "master", "master": "master"},
        {"orig": "master", "loginuser": "alice"},
        {"protocol": "smtp", "lport": "0", "listener": "0"},
        {"protocol": "sieve"},
        {"protocol": "lmtp"},
        {"protocol": ""},
        {"listener": "2144"},
        {"listener": "", "lport": ""},
        {"listener": "0x83e"},
        {"listener": "٢١١٠"},
        {"listener": 2110, "lport": 2110},
        {"login": ""},
        {"login": "nobody"},
        {"login": "alice@example.com"},
        {"login": "alice\n"},
        {"login": "\ud800"},
        {"login": ["alice"]},
        {"remote": ""},
        {"remote": "unknown"},
    ],
    ids=str,
)
def test_nothing_else_opens_it(logins: Logins, fields: dict[str, Any]) -> None:
    logins.report(**({"success": True} | fields))
    assert who(logins) == []
    assert logins.db.query("SELECT count(*) FROM grant") == [(0,)]


def test_login_by_a_forwarding_address_opens_the_way_of_its_account(logins: Logins) -> None:
    logins.report("alice", success=True, orig="Info@Example.com")
    assert who(logins) == ["alice"]


def test_service_that_tells_the_customers_address_opens_nothing(logins: Logins) -> None:
    # HAProxy before a public port does; a listener of the service's own does not.
    logins.report(success=True, via="10.0.0.1", lport="143", listener="2110")
    assert who(logins) == ["alice"]
    logins.report("bob", success=True, via="10.0.0.1", lport="2110", listener="2144")
    assert who(logins) == ["alice"]


def test_program_of_this_machine_opens_nothing_for_another_address(logins: Logins) -> None:
    forged = {"via": "127.0.0.1", "protocol": "imap", "lport": "2143", "listener": "2143"}
    assert logins.allow(**forged) == 0
    logins.report(success=True, **forged)
    assert who(logins) == []
    assert who(logins, "127.0.0.1") == ["alice"]


def test_webmail_is_believed_whose_logins_it_tells_of(logins: Logins) -> None:
    port = str(logins.config.webmail_imap_port)
    webmail = {"via": "127.0.0.1", "protocol": "imap", "lport": port, "listener": port}
    assert logins.log_in(source=HOME, **webmail)
    assert who(logins) == who(logins, "127.0.0.1") == []
    for _ in range(PLACE.refuse):
        logins.guess("bob", source=ELSEWHERE, **webmail)
    # He who guesses is refused there and by a mail program, and nobody else.
    assert logins.allow("bob", source=ELSEWHERE, **webmail) == -1
    assert logins.allow("bob", source=ELSEWHERE) == -1
    assert logins.allow("bob", source=WORK, **webmail) >= 0
    assert logins.allow(source=HOME, **webmail) == 0


def test_login_by_ssh_opens_nothing_and_counts_like_any(logins: Logins) -> None:
    ssh: dict[str, Any] = {"protocol": "ssh", "lport": "0", "listener": "0"}
    logins.report(success=True, **ssh)
    assert who(logins) == []
    for n in range(25):
        logins.report("bob", ELSEWHERE, success=False, pwhash=f"{n:03x}", **ssh)
    assert logins.allow("bob", ELSEWHERE, **ssh) == -1


def test_what_ssh_reads_and_sends_waits_for_nobodys_guessing(logins: Logins) -> None:
    # By a Unix socket: without address and port. The password was judged before, as "ssh".
    inside: dict[str, Any] = {"lport": "0", "listener": "0", "via": "", "protocol": "imap"}
    for n in range(60):
        source = f"198.51.100.{n}"
        logins.report(source=source, success=False, pwhash=f"{n:03x}")
    assert logins.allow(source="", **inside) == 0
    before = logins.db.query("SELECT count(*) FROM failure")
    assert before != [(0,)]
    logins.report(source="", success=False, pwhash="abc", **inside)
    assert logins.db.query("SELECT count(*) FROM failure") == before
    # Another service of that kind says whose address it is.
    assert logins.allow(source=ELSEWHERE, **inside) != 0


def test_allowing_a_login_opens_nothing(logins: Logins) -> None:
    assert logins.allow(success=True) == 0
    assert who(logins) == []


# HTTP


def request(
    target: str = "/?command=allow",
    content: bytes | None = None,
    key: str = KEY,
    method: str = "POST",
    headers: str = "",
) -> bytes:
    """Return a request as Dovecot writes it."""
    body = b"{}" if content is None else content
    return (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:2400\r\n"
        "Date: Wed, 25 Nov 2026 15:00:50 GMT\r\nUser-Agent: dovecot/auth-policy-client\r\n"
        f"Content-Length: {len(body)}\r\nConnection: Keep-Alive\r\n"
        f"Content-Type: application/json\r\nX-Policy-Key: {key}\r\n{headers}\r\n"
    ).encode() + body


@asynccontextmanager
async def served(logins: Logins) -> AsyncIterator[int]:
    """Serve on a free port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(logins.authpolicy.connection, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        logins.authpolicy.close()
        server.close()
        await server.wait_closed()


def serving(logins: Logins, talk: Callable[[int], Awaitable[None]]) -> None:
    """Run `talk` with the port it is served on."""

    async def run() -> None:
        async with served(logins) as port:
            await talk(port)

    asyncio.run(run())


async def answered(port: int, data: bytes) -> bytes:
    """Send `data` and nothing more; return all that comes until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of HTTP answers one after another."""
    return [int(part.split()[0]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def test_dovecots_questions_are_answered_one_after_another(logins: Logins) -> None:
    async def talk(port: int) -> None:
        asked = json.dumps(logins.question("alice", HOME)).encode()
        told = json.dumps(logins.question("alice", HOME) | {"success": True}).encode()
        data = request(content=asked) + request("/?command=report", told)
        answers = await answered(port, data * 50)
        assert statuses(answers) == [200] * 100
        assert answers.count(b'{"status": 0, "msg": ""}') == 100

    serving(logins, talk)
    assert who(logins) == ["alice"]


def test_one_byte_at_a_time_is_understood(logins: Logins) -> None:
    async def talk(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(content=b'{"login": "\xff\xfe"}'):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert b"200" in await reader.readline()
        writer.close()

    serving(logins, talk)


_CHUNKED = request().partition(b"\r\n\r\n")[0].replace(b"Content-Length: 2", b"X: 2")
_ODD = {
    "status": (b"GET / HTTP/1.0\r\n\r\n", 403),
    "no key": (request(key=""), 403),
    "short key": (request(key=KEY[:-1]), 403),
    "long key": (request(key=KEY + "0"), 403),
    "GET": (request(method="GET"), 405),
    "PUT": (request(method="PUT"), 405),
    "no command": (request("/"), 404),
    "other command": (request("/?command=lift"), 404),
    "two commands": (request("/?command=allow&command=report"), 404),
    "odd path": (request("//[?command=allow"), 404),
    "no content": (request(content=b""), 400),
    "no JSON": (request(content=b"nonsense"), 400),
    "a list": (request(content=b'["login"]'), 400),
    "deep lists": (request(content=b"[" * 16_000), 400),
    "deep objects": (request(content=b'{"a":' * 3000), 400),
    "a long number": (request(content=b"1" * 16_000), 400),
    "long content": (request(content=b"{" + b" " * 20_000 + b"}"), 413),
    "long header": (request(headers="X: " + "x" * 300_000 + "\r\n"), 431),
    "two lengths": (request(headers="Content-Length: 3\r\n"), 400),
    "chunks": (_CHUNKED + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "SMTP": (b"\r\n\r\nEHLO outside.test\r\n\r\n", 400),
    "no end": (b"x" * 100_000, 431),
}


@pytest.mark.parametrize(("data", "status"), _ODD.values(), ids=_ODD)
def test_what_is_no_question_costs_its_connection_alone(
    logins: Logins, data: bytes, status: int
) -> None:
    async def talk(port: int) -> None:
        answers = await answered(port, data)
        # A kernel may drop the answer when it throws away what was not read.
        assert statuses(answers) in ([status], []) if status == 431 else [status]
        assert statuses(await answered(port, request())) == [200]

    serving(logins, talk)


def test_strangers_learn_nothing_and_change_nothing(logins: Logins) -> None:
    told = json.dumps(logins.question("alice", HOME) | {"success": True}).encode()

    async def talk(port: int) -> None:
        answers = await answered(port, request("/?command=report", told, key="wrong"))
        assert statuses(answers) == [403]
        assert b"alice" not in answers
        assert KEY.encode() not in answers

    serving(logins, talk)
    assert who(logins) == []


def test_a_secret_is_needed(logins: Logins) -> None:
    server = logins.authpolicy
    with pytest.raises(ValueError, match="secret"):
        authpolicy.AuthPolicy(
            logins.config,
            "",
            logins.directory,
            logins.grants,
            logins.throttle,
            logins.arrivals,
        )
    assert server is logins.authpolicy


def test_slow_ones_are_hung_up_on(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authpolicy, "PATIENCE", 0.3)
    monkeypatch.setattr(authpolicy, "IDLE", 0.6)

    async def lasts(port: int, data: bytes, drip: float = 0.0) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begin = time.monotonic()
        writer.write(data)
        while drip and time.monotonic() < begin + 3 and not reader.at_eof():
            writer.write(b"X")
            await asyncio.sleep(drip)
        with suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return time.monotonic() - begin

    async def talk(port: int) -> None:
        silent, partial, dripping, idle = await asyncio.gather(
            lasts(port, b""),
            lasts(port, request()[:-1]),
            lasts(port, b"POST ", 0.05),
            lasts(port, request()),
        )
        assert 0.2 < silent < 2
        assert 0.2 < partial < 2
        assert 0.2 < dripping < 2
        assert 0.5 < idle < 3

    serving(logins, talk)


def test_strangers_do_not_keep_dovecot_out(logins: Logins) -> None:
    async def talk(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert b"200" in await reader.readline()
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        assert statuses(await answered(port, request())) == [200]
        # Nor is a connection of Dovecot's put out for theirs.
        writer.write(request())
        await asyncio.sleep(0.1)
        assert (await reader.read(10_000)).count(b"200") == 1
        for _, stranger in [*crowd, (reader, writer)]:
            stranger.close()

    serving(logins, talk)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send requests until the other side hangs up."""
    while True:
        writer.write(request() * 100)
        await writer.drain()


def test_one_who_reads_no_answers_is_hung_up_on(logins: Logins, tmp_path: Path) -> None:
    # A unix socket holds less than a port: the end comes sooner.
    path = str(tmp_path / "http")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(logins.authpolicy.connection, path)
        _, writer = await asyncio.open_unix_connection(path)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(writer), 60)
        writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


# Fuzzing


class Pipe(asyncio.Transport):
    """A transport whose other end is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.open = True
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.open = False

    def abort(self) -> None:
        self.open = False


_PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\xff\xfe", b"HTTP/1.1", b"HTTP/9.9", b"POST ",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n", b"X-Policy-Key: ", b"{", b"}", b"[", b'"', b"\\u0000", b"\\ud800", b"null",
    b"1e999", b"-" * 50, b"9" * 5000, b"[" * 2000, b"true", b"/?command=report",
    b'"login":"alice"', b'"remote":"203.0.113.7"', b'"success":true', b"0\r\n\r\n",
]  # fmt: skip


def nonsense(rng: random.Random, logins: Logins) -> bytes:
    """Return what Dovecot would never send, or would: one in eight is left as it is."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    fields = logins.question(
        rng.choice(["alice", "bob", "nobody", "x" * 300, "\ud800", "\0", "info@example.com"]),
        rng.choice([HOME, WORK, ELSEWHERE, "::1", "", f"2001:db8::{rng.randrange(1 << 16):x}"]),
        success=rng.choice([True, False, 1, "true", None]),
        pwhash=f"{rng.randrange(4096):04x}",
        master=rng.choice(["", "", "master", 7]),
    )
    content = json.dumps(fields).encode()
    target = rng.choice(["/?command=allow", "/?command=report"])
    data = bytearray(request(target, content, key=KEY if rng.random() < 0.9 else "no"))
    if kind < 7:
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at:at] = rng.choice(_PIECES)
                case 1:
                    del data[at : at + rng.randrange(1, 30)]
                case 2:
                    data[at : at + 1] = rng.randbytes(1)
                case 3:
                    data[at:at] = data[: rng.randrange(len(data) + 1)][:2000]
    return bytes(data)


def resident() -> int:
    """Return this process's memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_no_input_breaks_it_and_memory_stays_flat(
    logins: Logins, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    count = 250_000 if SOAK else 25_000
    monkeypatch.setattr("mailhost.policy.throttle.MOST_FAILURES", 1000)
    rng = random.Random(seed)
    answered = asyncio.run(_feed(logins, rng, count // 5))
    before = resident()
    answered += asyncio.run(_feed(logins, rng, count - count // 5))
    grown = resident() - before
    tell(f"{count} inputs, {answered} answered; {before >> 20} MB resident, then {grown} B more")
    assert answered > count / 4
    assert grown < 16_000_000
    assert logins.guess("bob", "192.0.2.1")
    assert logins.log_in("bob", "192.0.2.1")


async def _feed(logins: Logins, rng: random.Random, count: int) -> int:
    """Feed so many inputs, each to a connection of its own in up to three parts."""
    answered = 0
    for number in range(count):
        connection, pipe = Connection(logins.authpolicy), Pipe()
        connection.connection_made(pipe)
        data = nonsense(rng, logins)
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(3)))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if pipe.open and end > begin:
                connection.data_received(data[begin:end])
        if pipe.open:
            connection.eof_received()
        connection.connection_lost(None)
        answered += bool(pipe.written)
        logins.now += 0.01
        if number % 1000 == 0:
            logins.expire()
            await asyncio.sleep(0)
    return answered


@pytest.mark.parametrize(
    "content", [b"{}", b'{"lport": "99999999"}', b'{"login": null, "success": []}', b'{"": {}}']
)
def test_fields_that_are_missing_or_odd_say_nothing(content: bytes) -> None:
    question = read_question(content)
    assert (question.login, question.success, question.port) == ("", False, 0)


def test_place_of_an_attack_over_http_is_refused(logins: Logins) -> None:
    async def talk(port: int) -> None:
        for n in range(PLACE.refuse):
            fields = logins.question("alice", HOME, success=False, pwhash=f"{n:04x}")
            content = json.dumps(fields).encode()
            assert statuses(await answered(port, request("/?command=report", content))) == [200]
        asked = json.dumps(logins.question("bob", HOME)).encode()
        assert b'{"status": -1, "msg": "' in await answered(port, request(content=asked))

    serving(logins, talk)
