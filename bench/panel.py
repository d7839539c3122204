"""The User Manager through gunicorn, started as `make run` starts it, on a real socket.

Three domains of 10, 1,000 and 10,000 accounts. Each account has a change of the day
before and a figure of what it uses; every fifth has a forwarding address that leads to it;
on the first page one waits for another password and one got it within the hour. Requests
come one after the other, the three domains in turn.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bench._figures import figure, milliseconds, note, quick, spread
from bench._panel import panel
from standalone.parts import answers_http, panel_parts
from standalone.place import HOST, Ports
from tests.servers import free_ports

if TYPE_CHECKING:
    from accounts.models import Account

SIZES = {"10": 10, "1k": 1000, "10k": 10_000}
PASSWORD = "correct-horse-battery"
TOKEN = "b" * 32  # Django compares the form's with the cookie's


def fill(sizes: Mapping[str, int]) -> dict[str, str]:
    """Make a customer with a domain of each size; return their cookies."""
    from django.test import Client

    from accounts.models import Customer, Plan, User
    from propagation.models import MailServer

    user = User.objects.create_user("bench")
    customer = Customer.objects.create(user=user, name="Bench")
    plan = Plan.objects.create(
        code="bench", name_ja="ベンチ", name_en="Bench", account_limit=1_000_000
    )
    server = MailServer.objects.create(name="mail1.bench.test")
    for name, count in sizes.items():
        _fill_domain(customer, plan, server, f"with{name}.example", count)
    browser = Client()
    browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return {name: cookie.value for name, cookie in browser.cookies.items()}


def _fill_domain(customer: object, plan: object, server: object, name: str, count: int) -> None:
    """Give the domain its accounts, and a past to all of them."""
    from accounts.models import Account, Domain
    from forwarding.models import Destination, ForwardingAddress
    from propagation.models import Change, ChangeState

    # With a password: rows of accounts that have none yet say so, and are drawn one by one.
    domain = Domain.objects.open(
        customer=customer,  # type: ignore[arg-type]
        name=name,
        plan=plan,  # type: ignore[arg-type]
        server=server,  # type: ignore[arg-type]
        password=PASSWORD,
    )
    hashed = domain.fixed_account.password_hash
    accounts = Account.objects.bulk_create(
        Account(
            domain=domain,
            server_id=domain.server_id,
            name=f"box{n:05}-{domain.label}",
            password_hash=hashed,
        )
        for n in range(count - 1)
    )
    Change.objects.pending().end(ChangeState.APPLIED)
    _use(accounts)
    _ended(accounts, ago=timedelta(days=1))
    _ended(accounts[1:2], ago=timedelta(minutes=10))
    forwards = ForwardingAddress.objects.bulk_create(
        ForwardingAddress(domain=domain, local_part=f"to.{account.name}")
        for account in accounts[::5]
    )
    Destination.objects.bulk_create(
        Destination(
            forwarding=forward, position=0, address=account.address, lowered=account.address
        )
        for forward, account in zip(forwards, accounts[::5], strict=True)
    )
    accounts[0].set_password(uuid.uuid4().hex)


def _use(accounts: Sequence[Account]) -> None:
    """Give each account a figure of what it uses of its limit, no two alike."""
    from django.utils.timezone import now

    from quota.models import MailboxUsage

    limit, moment = 10 * 1024 * 1024, now()
    MailboxUsage.objects.bulk_create(
        MailboxUsage(
            account=account, used=n * 7919 % limit, messages=n % 500, limit=limit, asked_at=moment
        )
        for n, account in enumerate(accounts)
    )


def _ended(accounts: Sequence[Account], ago: timedelta) -> None:
    """Note a change of each account that ended so long ago."""
    from django.utils.timezone import now

    from propagation.models import Change, ChangeState, Content

    moment = now() - ago
    Change.objects.bulk_create(
        Change(
            server_id=account.server_id,
            key=account.key,
            domain=account.domain.name,
            after=Content.of(account.record()).value,
            made_at=moment,
            due_at=moment,
            ended_at=moment,
            state=ChangeState.APPLIED,
        )
        for account in accounts
    )


class Web:
    """gunicorn, and a browser that is logged in."""

    def __init__(self, port: int, master: int, cookies: Mapping[str, str]) -> None:
        """Take where it listens, its process and the login's cookies."""
        self._port = port
        self._master = master
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._headers = {"Cookie": f"{cookie}; csrftoken={TOKEN}"}

    def ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None, *, table: bool = True
    ) -> float:
        """Return the milliseconds from connecting to the answer's last byte.

        A page that is looked at has to hold a table, unless `table` is False.
        """
        headers = dict(self._headers)
        body = urlencode(form) if form else None
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        start = time.perf_counter()
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        took = (time.perf_counter() - start) * 1000
        connection.close()
        assert answer.status == (302 if form else 200), (answer.status, content[:2000])
        assert form or not table or b"<tbody " in content
        return took

    def _workers(self) -> list[Path]:
        children = Path(f"/proc/{self._master}/task/{self._master}/children").read_text()
        return [Path("/proc") / child for child in children.split()]

    def processor_time(self) -> float:
        """Return the milliseconds of processor time that the workers have used (proc(5))."""
        spent = [(worker / "schedstat").read_text().split()[0] for worker in self._workers()]
        return sum(map(int, spent)) / 1e6

    def rss(self) -> float:
        """Return the resident memory of the largest worker in MiB (proc(5))."""
        status = [(worker / "status").read_text() for worker in self._workers()]
        lines = [line for text in status for line in text.splitlines() if line.startswith("VmRSS")]
        return max(int(line.split()[1]) for line in lines) / 1024


@contextmanager
def gunicorn(place: Path, cookies: Mapping[str, str]) -> Iterator[Web]:
    """Run the panel's web server as `make run` does."""
    ports = Ports(web=free_ports(1)[0])
    [part] = panel_parts(place, ports, os.environ)
    with subprocess.Popen(part.command) as process:
        try:
            end = time.monotonic() + 60
            while not answers_http(ports.web, "/healthz"):
                assert process.poll() is None, "gunicorn ended"
                assert time.monotonic() < end, "gunicorn does not answer"
                time.sleep(0.1)
            yield Web(ports.web, process.pid, cookies)
        finally:
            process.terminate()
            process.wait(30)


def _lists(web: Web, sizes: Mapping[str, int], runs: int) -> None:
    times = defaultdict(list)
    for run in range(-runs // 10, runs):
        for name in sizes:
            took = web.ask("GET", f"/domains/with{name}.example/users/")
            # Each worker's first requests read its templates.
            if run >= 0:
                times[name].append(took)
    for name in sizes:
        spread(f"list_50_at_{name}", times[name])
    note(f"quickest: {', '.join(f'{min(times[name]):.1f}' for name in sizes)} ms")


def _processor_time(web: Web, runs: int) -> None:
    """Print what other work on the machine changes least: the workers' own time for a page."""
    before = web.processor_time()
    for _ in range(runs):
        web.ask("GET", "/domains/with10k.example/users/")
    figure("list_50_at_10k_cpu", (web.processor_time() - before) / runs, "ms")


def _queries(cookies: Mapping[str, str]) -> None:
    """Print how many SQL statements the whole request takes, session and login among them."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    browser = Client(headers={"host": HOST})
    browser.cookies.load(dict(cookies))
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get("/domains/with10k.example/users/")
    assert answer.status_code == 200
    figure("list_queries_at_10k", len(queries), "queries")


def _creation(web: Web, runs: int) -> None:
    """Print what it takes to add an account to the largest domain, without the hash."""
    from accounts.passwords import make_hash

    whole, hashing = [], []
    for n in range(-2, runs):
        form = {"name": f"new{n + 2}", "password": uuid.uuid4().hex, "csrfmiddlewaretoken": TOKEN}
        took = web.ask("POST", "/domains/with10k.example/users/", form)
        hashed = milliseconds(lambda: make_hash(PASSWORD))
        if n >= 0:
            whole.append(took)
            hashing.append(hashed)
    figure("create_account", median(whole) - median(hashing), "ms")
    figure("create_account_with_hash", median(whole), "ms")
    figure("password_hash", median(hashing), "ms")
    note(f"quickest: {min(whole):.1f} ms, the hash {min(hashing):.1f} ms")


def measure(place: Path, quickly: bool) -> None:
    """Fill the panel, run it and print all figures."""
    from django.core.management import call_command

    sizes = {name: min(size, 60) for name, size in SIZES.items()} if quickly else SIZES
    call_command("collectstatic", verbosity=0, interactive=False)
    cookies = fill(sizes)
    with gunicorn(place, cookies) as web:
        _lists(web, sizes, 10 if quickly else 300)
        _processor_time(web, 10 if quickly else 200)
        _queries(cookies)
        _creation(web, 3 if quickly else 100)
        figure("web_worker_rss", web.rss(), "MiB")


def main() -> int:
    """Measure with a panel of its own."""
    quickly = quick(__doc__ or "")
    with panel() as place:
        measure(place, quickly)
    return 0


if __name__ == "__main__":
    sys.exit(main())
