"""Two hundred customers send at once while the policy daemon is killed again and again.

Half of them log in on the submission port, half received their mail before; each sends one
message after the other, and tries again whatever was put off. In the end each message that
Postfix accepted is outside once, and each account's count lies between what was accepted of it
and that plus what was on its way when the daemon died.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import signal
import sqlite3
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailhost.instance import missing_programs
from mailhost.processes import master
from mailhost.records import Entry, HostedDomain, Mailbox, PlanLimits, Record
from tests.conftest import SOAK, tell
from tests.servers import PASSWORD, MailServer, free_ports, mail_server, mailbox, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.soak, pytest.mark.timeout(3600 if SOAK else 300)]

MESSAGES, KILLS = (20_000, 10) if SOAK else (2_000, 2)
SESSIONS, ACCOUNTS = 200, 40
DOMAIN = "soak.example.com"
#: Seconds after which a session tries again what was put off, and until it gives a command up.
PAUSE, PATIENCE = 0.5, 120.0


@dataclass
class Outside:
    """Postfix's own sink for mail, which writes all of it into one file."""

    port: int
    file: Path

    def taken(self) -> Counter[str]:
        """Return how often each recipient has got a message."""
        text = self.file.read_text() if self.file.exists() else ""
        return Counter(re.findall(r"^X-Rcpt-Args: <([^>]+)>", text, re.MULTILINE))


@contextmanager
def outside(place: Path) -> Iterator[Outside]:
    """Run it in a directory of its own."""
    found = Outside(free_ports(1)[0], place / "outside")
    command = ["smtp-sink", "-u", "root", "-h", "outside.test", "-D", str(found.file)]
    with subprocess.Popen([*command, f"127.0.0.1:{found.port}", "1000"]) as process:
        try:
            yield found
        finally:
            process.terminate()


class Lost(Exception):
    """The connection ended."""


@dataclass
class Session:
    """One customer's program: it sends its messages one by one, each until it is accepted."""

    server: MailServer
    account: Mailbox
    source: str
    by_password: bool
    #: Recipients asked for in the message that is on its way.
    asked: list[str] = field(default_factory=list)
    put_off: int = 0
    #: The connection ended when the message had been given: nobody knows whether it was taken.
    unknown: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def send(self, messages: Sequence[list[str]], accepted: Counter[str]) -> None:
        """Send a message to each of these lists of recipients, and note what was accepted."""
        for recipients in messages:
            while not await self._offer(recipients):
                self.put_off += 1
                await asyncio.sleep(PAUSE)
            accepted.update(recipients)
            self.asked = []
        with suppress(Lost):
            await self._say("QUIT")
        self._hang_up()

    async def _offer(self, recipients: list[str]) -> bool:
        given = False
        try:
            if self._writer is None:
                await self._connect()
            # With this the daemon hears of another message, and forgets the one before.
            self.asked = []
            if await self._say(f"MAIL FROM:<{self.account.address}>") != 250:
                return await self._give_up()
            for recipient in recipients:
                self.asked.append(recipient)
                if await self._say(f"RCPT TO:<{recipient}>") != 250:
                    return await self._give_up()
            if await self._say("DATA") != 354:
                return await self._give_up()
            given = True
            code = await self._say(f"Subject: soak\r\n\r\nHello, {recipients[0]}.\r\n.")
            return code == 250 or await self._give_up(code)
        except Lost:
            self._hang_up()
            self.unknown += given
            return False

    async def _give_up(self, code: int = 0) -> bool:
        if code == 421 or await self._say("RSET") != 250:
            self._hang_up()
        return False

    async def _connect(self) -> None:
        config = self.server.config
        context = ssl._create_unverified_context() if self.by_password else None  # noqa: S323
        port = config.submissions_port if self.by_password else config.smtp_port
        try:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(self.source, 0), ssl=context
            )
        except OSError as error:
            raise Lost from error
        wanted = [await self._answer() == 220, await self._say("EHLO pc.outside.test") == 250]
        if self.by_password:
            secret = base64.b64encode(f"\0{self.account.name}\0{PASSWORD}".encode()).decode()
            wanted.append(await self._say(f"AUTH PLAIN {secret}") == 235)
        if not all(wanted):
            raise Lost

    async def _say(self, line: str) -> int:
        if self._writer is None:
            raise Lost
        self._writer.write(f"{line}\r\n".encode())
        return await self._answer()

    async def _answer(self) -> int:
        assert self._reader
        while True:
            try:
                line = await asyncio.wait_for(self._reader.readline(), PATIENCE)
            except (OSError, TimeoutError) as error:
                raise Lost from error
            if not line:
                raise Lost
            if line[3:4] != b"-":
                return int(line[:3])

    def _hang_up(self) -> None:
        if self._writer:
            self._writer.transport.abort()
        self._reader = self._writer = None


class Killer:
    """Ends the daemon whenever so much more was accepted, and starts it again."""

    def __init__(self, server: MailServer, sessions: Sequence[Session]) -> None:
        self._server = server
        self._sessions = sessions
        self.kills = 0
        #: By account, the recipients on their way when the daemon was killed.
        self.in_flight: Counter[str] = Counter()

    async def work(self, accepted: Counter[str], recipients: int) -> None:
        while self.kills < KILLS:
            await asyncio.sleep(0.02)
            if accepted.total() >= (self.kills + 1) * recipients // (KILLS + 1):
                self._kill()
                # What waits for it meanwhile is put off.
                await asyncio.to_thread(self._start)

    def _kill(self) -> None:
        leader = master(self._server.host.paths, "policy")
        assert leader
        for session in self._sessions:
            self.in_flight[session.account.name] += len(session.asked)
        os.kill(leader, signal.SIGKILL)
        self.kills += 1

    def _start(self) -> None:
        self._server._runs.pop("policy").wait(30)
        self._server.start("policy")


def counted(server: MailServer) -> Counter[str]:
    """Return the recipients that the daemon's database has of each account."""
    with closing(sqlite3.connect(server.host.paths.policy / "policy.sqlite3")) as db:
        rows = db.execute("SELECT account, sum(recipients) FROM count GROUP BY account")
        return Counter(dict(rows.fetchall()))


def open_accounts(server: MailServer) -> list[Mailbox]:
    """Open accounts that may send to more than anybody will here."""
    boxes = [mailbox(f"box{number}", DOMAIN) for number in range(ACCOUNTS)]
    plan = PlanLimits("soak", recipients_per_day=10**9)
    records: list[Record] = [plan, HostedDomain(DOMAIN, boxes[0].address, plan=plan.code), *boxes]
    with server.host.lock():
        server.host.apply([Entry(each.key, n, each) for n, each in enumerate(records, 1)])
    return boxes


def open_sessions(server: MailServer, boxes: Sequence[Mailbox]) -> list[Session]:
    """Let every second customer receive his mail, so that he may send without a password."""
    sessions = []
    for number in range(SESSIONS):
        account, source = boxes[number % ACCOUNTS], f"127.0.{30 + number // 100}.{number % 100 + 1}"
        # Of each account's five sessions two or three.
        by_password = (number + number // ACCOUNTS) % 2 == 0
        sessions.append(Session(server, account, source, by_password))
    receiving = [(each.account.name, each.source) for each in sessions if not each.by_password]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda customer: server.receive(*customer), receiving))
    return sessions


def write_messages() -> list[list[list[str]]]:
    """Return for each session its messages: the recipients of each, who get no other."""
    chance = random.Random(1)
    return [
        [
            [f"s{session}.m{message}.r{n}@outside.test" for n in range(chance.randrange(1, 6))]
            for message in range(MESSAGES // SESSIONS)
        ]
        for session in range(SESSIONS)
    ]


def test_no_message_is_lost_or_doubled_and_every_count_holds_over_kills(tmp_path: Path) -> None:
    if problem := missing_programs():
        pytest.skip(problem)
    with outside(tmp_path) as sink, mail_server(outbound=f"smtp:[127.0.0.1]:{sink.port}") as server:
        sessions = open_sessions(server, open_accounts(server))
        messages = write_messages()
        recipients = sum(len(to) for each in messages for to in each)
        accepted: Counter[str] = Counter()
        killer = Killer(server, sessions)

        async def soak() -> None:
            killing = asyncio.create_task(killer.work(accepted, recipients))
            pairs = zip(sessions, messages, strict=True)
            await asyncio.gather(*(session.send(each, accepted) for session, each in pairs))
            await killing

        begin = time.monotonic()
        asyncio.run(soak())
        seconds = time.monotonic() - begin
        assert killer.kills == KILLS
        assert not any(session.unknown for session in sessions)

        wait_for(lambda: sink.taken().total() >= recipients, 600 if SOAK else 60)
        delivered = time.monotonic() - begin
        # One more would have come by then.
        time.sleep(2)
        assert accepted == sink.taken()
        assert set(accepted.values()) == {1}

        by_account: Counter[str] = Counter()
        for session, each in zip(sessions, messages, strict=True):
            by_account[session.account.name] += sum(map(len, each))
        counts = counted(server)
        for name, sent in by_account.items():
            assert sent <= counts[name] <= sent + killer.in_flight[name], name
        tell(
            f"{MESSAGES} messages to {recipients} recipients by {SESSIONS} sessions, {KILLS} kills:"
            f" accepted in {seconds:.1f} s, delivered in {delivered:.1f} s; put off"
            f" {sum(session.put_off for session in sessions)} times; counted"
            f" {counts.total() - recipients} more, {killer.in_flight.total()} were on their way"
        )
