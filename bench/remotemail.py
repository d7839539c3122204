"""Remote mail: the pages of a mailbox of 10,000 messages, and deleting 1,000 of them.

The panel runs under gunicorn as `make run` starts it, Dovecot as `mailhost` does. Most messages
have 2 to 6 KB, every fiftieth 200 KB, every hundredth is one that breaks mail programs.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench._figures import figure, note, quick, spread
from bench._mailserver import mail_server
from bench._panel import panel
from bench.panel import PASSWORD, TOKEN, Web, gunicorn
from mailhost.paths import Paths
from mailhost.records import HostedDomain
from tests.hostile import corpus
from tests.servers import message

SERVER = "mail1.bench.test"
MESSAGES = 10_000


def messages() -> Iterator[bytes]:
    """Yield messages without end."""
    broken = itertools.cycle([data for _name, data in corpus() if len(data) < 100_000])
    for number in itertools.count():
        if number % 100 == 99:
            yield next(broken)
            continue
        text = "いつもお世話になっております。\n" * (2000 if number % 50 == 0 else 30 + number % 60)
        yield message(
            f"第{number}号 お知らせ {number % 37}", text, f"sender{number % 91}@outside.test"
        )


def fill(home: Path, count: int, owner: tuple[int, int]) -> None:
    """Lay messages into a mailbox as a delivery would."""
    cur = home / "Maildir" / "cur"
    for name in ("cur", "new", "tmp"):
        (home / "Maildir" / name).mkdir(parents=True, exist_ok=True)
    began = int(time.time()) - count
    for number, content in enumerate(itertools.islice(messages(), count)):
        file = cur / f"{began + number}.M{number:06}.bench:2,"
        file.write_bytes(content)
        os.utime(file, (began + number, began + number))
        os.chown(file, *owner)
    for path in (home.parent, home, home / "Maildir", *(home / "Maildir").iterdir()):
        os.chown(path, *owner)


def customer() -> tuple[object, dict[str, str]]:
    """Make a customer with one domain; return its fixed account, and the cookies of a login."""
    from django.test import Client

    from accounts.models import Customer, Domain, Plan, User
    from propagation.models import Change, ChangeState, MailServer

    user = User.objects.create_user("bench")
    owner = Customer.objects.create(user=user, name="Bench")
    plan = Plan.objects.create(code="bench", name_ja="ベンチ", name_en="Bench", account_limit=10)
    server = MailServer.objects.create(name=SERVER)
    domain = Domain.objects.open(
        customer=owner, name="bench.example", plan=plan, server=server, password=PASSWORD
    )
    Change.objects.pending().end(ChangeState.APPLIED)
    browser = Client()
    browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
    cookies = {name: cookie.value for name, cookie in browser.cookies.items()}
    return domain.fixed_account, cookies


def _first(web: Web, path: str) -> float:
    """Open the mailbox for the first time, which lets Dovecot make its index."""
    return web.ask("GET", path)


def _lists(web: Web, path: str, runs: int) -> None:
    pages = {
        "remote_list_10k": path,
        "remote_last_page_10k": f"{path}?page=200",
        "remote_by_size_10k": f"{path}?order=large",
        "remote_by_subject_10k": f"{path}?order=subject",
        "remote_search_10k": f"{path}?q=%E7%AC%AC77%E5%8F%B7",
    }
    for name, page in pages.items():
        note(f"{name}, the first time: {_first(web, page):.0f} ms")
        times = [web.ask("GET", page) for _ in range(runs)]
        spread(name, times)
        note(f"{name}, the quickest: {min(times):.0f} ms")
    before = web.processor_time()
    for _ in range(runs):
        web.ask("GET", path)
    # What other work on the machine changes least: the workers' own time, without Dovecot's.
    figure("remote_list_10k_cpu", (web.processor_time() - before) / runs, "ms")


def _message(web: Web, account: object, runs: int) -> None:
    """Print what it takes to look at one message, and the parts of a page by themselves."""
    from accounts.models import Account
    from remotemail import mailbox
    from remotemail.connection import connected

    assert isinstance(account, Account)
    parts: dict[str, list[float]] = {"login": [], "open": [], "page": []}
    for _ in range(runs):
        began = time.perf_counter()
        with connected(account) as client:
            logged_in = time.perf_counter()
            folder = mailbox.open_folder(client, "INBOX")
            opened = time.perf_counter()
            page = mailbox.page_of(client, folder, mailbox.Query(), "1")
            done = time.perf_counter()
        for name, took in zip(
            parts, (logged_in - began, opened - logged_in, done - opened), strict=True
        ):
            parts[name].append(took * 1000)
    for name, times in parts.items():
        spread(f"remote_part_{name}", times)
    head = page.object_list[1]
    path = f"/domains/bench.example/users/{account.pk}/mail/{folder.validity}/{head.uid}/"
    spread("remote_message", [web.ask("GET", path, table=False) for _ in range(runs)])


def _deletion(web: Web, account: object, path: str, count: int) -> None:
    """Print what it takes to delete many, from the yes to the list that follows."""
    from accounts.models import Account
    from remotemail import mailbox
    from remotemail.connection import connected

    assert isinstance(account, Account)
    with connected(account) as client:
        folder = mailbox.open_folder(client, "INBOX")
        before = folder.count
    form = {
        "folder": "INBOX", "validity": str(folder.validity), "uids": f"1:{count}", "sure": "1",
        "csrfmiddlewaretoken": TOKEN,
    }  # fmt: skip
    figure(f"remote_delete_{count}", web.ask("POST", f"{path}delete/", form) / 1000, "s")
    with connected(account) as client:
        left = mailbox.open_folder(client, "INBOX").count
    assert before - left == count, (before, left)


def main() -> int:
    """Measure with a panel and a mail server of their own."""
    quickly = quick(__doc__ or "")
    count, runs, deleted = (120, 3, 100) if quickly else (MESSAGES, 40, 1000)
    with panel() as place:
        from django.core.management import call_command

        root = place / "servers" / SERVER
        for directory in (root.parent, root):
            directory.mkdir()
            directory.chmod(0o711)
        call_command("collectstatic", verbosity=0, interactive=False)
        account, cookies = customer()
        records = [HostedDomain("bench.example", account.address), account.record()]  # type: ignore[attr-defined]
        with mail_server(root, SERVER, records) as config, gunicorn(place, cookies) as web:
            note(f"laying {count} messages into the mailbox")
            home = Paths(root).home(account.pk.hex)  # type: ignore[attr-defined]
            fill(home, count, (config.mail_uid, config.mail_gid))
            path = f"/domains/bench.example/users/{account.pk}/mail/"  # type: ignore[attr-defined]
            note(f"the mailbox's very first page: {_first(web, path):.0f} ms")
            _lists(web, path, runs)
            _message(web, account, runs)
            _deletion(web, account, path, deleted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
