"""What the panel holds while its pages are looked at: rows of each kind, in each of their states.

Long names, empty lists and full ones are there, and mail on a real server for the pages of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import models
from django.utils.timezone import localdate, now

from accounts.models import Account, Domain
from bulk import jobs as imports
from bulk.models import ImportKind, ImportState
from forwarding import removal
from forwarding.models import Destination, ForwardingAddress, MailingList, Member
from mailhost.host import Status
from mailhost.lists.leaving import token
from mailhost.policy.texts import refusal
from mailuser.models import AccountRights, DomainRights, Preference
from orders.models import Inquiry, Option, OptionKind, Order
from propagation import reconcile
from propagation.models import MailServer
from quota.models import (
    Archive,
    ArchiveJob,
    ArchiveNews,
    ArchiveRun,
    Guessing,
    JobKind,
    JobState,
    MailboxUsage,
    Notice,
    Refusal,
    Report,
    SendingHour,
    SendingWindow,
    UsageReport,
    WaitingMail,
)
from tests import factories
from tests.conftest import Cast, browser, logged_in
from tests.contracts.test_urls import sakuras
from tests.hostile import corpus
from tests.quota.files import keep, mail, written
from tests.remotemail.conftest import Mailbox
from tests.servers import MailServer as Running
from tests.servers import message, wait_for
from tests.snapshot import OURS
from tracing.diagnosis import Code, diagnose
from tracing.models import KEPT, EventReport, MailEvent

#: What is the matter with which address.
MATTERS = {
    "limit": Code.LIMIT,
    "large": Code.TOO_LARGE,
    "later": Code.LATER,
    "refused": Code.REFUSED,
    "nowhere": Code.DEAD_END,
    "round": Code.LOOP,
    "kato": Code.FULL,
    "wait": Code.PENDING,
    "nobody": Code.UNKNOWN,
}
LONG = "nagai-namae-no-kaisha-ga-motteiru-totemo-nagai-domein.example"
LONG_NAME = "namae-ga-sanjuuni-moji-no-kata.x"
_MB = 1024 * 1024
_LONG_PEOPLE = {"sender": f"{'f' * 60}@{LONG}", "recipient": f"{'t' * 60}@outside.example"}
# Of the hostile corpus: what a page could take for markup, and what is hardest to fit into it.
_HOSTILE = ("html-textarea", "subject-script", "from-html", "line-without-blank", "file-name-html")


@dataclass(frozen=True)
class Scene:
    """What the pages are about."""

    cast: Cast
    tanaka: Account  # with mail, figures and an archive
    objects: dict[str, object]  # sakura's, by the arguments that lead to them
    jobs: dict[JobState, int]
    hostile: dict[str, int]  # numbers in the archive
    managed: Account  # of a plan whose customers add and delete no accounts
    imports: dict[ImportState, int]
    link: str  # by which a member leaves the mailing list

    def first(self, model: type[models.Model]) -> Any:
        """Return the key of a row for the operator's page of it; none of what nobody writes."""
        row = model._default_manager.order_by("pk").first()
        assert row or model._meta.app_label not in OURS, f"the scene has no {model._meta.label}"
        return row and row.pk


def set_scene(cast: Cast, running: Running, homes: Path) -> Scene:
    """Make everything, on a server that holds what is live."""
    objects = sakuras(cast, homes)
    tanaka = cast.com.accounts.get(name="tanaka")
    club = MailingList.objects.get()
    managed = _live_rows(cast)
    _fill(club)
    factories.settle()
    reconcile.repair(cast.server)
    objects["validity"], objects["uid"] = _mail(tanaka, running)
    suzuki = Account.objects.get(name="suzuki")
    _changes(cast, tanaka, suzuki)
    objects["change_id"] = factories.pending(suzuki.key).pk
    objects["forwarding_id"] = ForwardingAddress.objects.get(local_part="sales").pk
    _figures(tanaka)
    _events(tanaka)
    _told(tanaka)
    hostile, jobs = _archives(tanaka, homes)
    objects["archive_id"], objects["job_id"] = Archive.objects.get(number=2).pk, jobs[JobState.DONE]
    _rights(cast)
    _logins()
    objects["option"] = _orders(cast, tanaka).pk
    # For longer than a slow machine takes to look at all pages.
    MailServer.objects.update(seen_at=now() + timedelta(hours=1), trouble="")
    leaver = token(club.leave_key, "kaiin001@outside.example")
    imported = _imports(tanaka.domain)
    objects["import_id"] = imported[ImportState.CHECKED]
    link = f"/leave/{club.pk}/{leaver}"
    return Scene(cast, tanaka, objects, jobs, hostile, managed, imported, link)


def _live_rows(cast: Cast) -> Account:
    """Open what is live; return an account of a plan without self-service."""
    managed = factories.make_plan("managed", self_service=False)
    opened = {
        name: factories.make_domain(name, customer=customer, plan=plan, server=cast.server)
        for name, customer, plan in (
            (LONG, cast.sakura, cast.plan),
            ("xn--wgv71a119e.example", cast.sakura, cast.plan),
            ("managed.example", cast.wakaba, managed),
        )
    }
    for name in ("suzuki", "ito", "kato", "gone"):
        factories.make_account(cast.com, name)
    factories.make_account(cast.other, "info")
    factories.make_forward(cast.com, "sales", "tanaka@example.com", "suzuki@example.com")
    factories.make_forward(cast.com, "long", f"{'n' * 64}@{LONG}", "a@outside.example")
    _ways(cast)
    _matters(cast)
    return factories.make_account(opened["managed.example"], "yamada")


def _fill(club: MailingList) -> None:
    """Give the list more members than a page has, some of whom mail no longer reaches."""
    members = [f"kaiin{number:03}@outside.example" for number in range(60)]
    club.add([*members, "nobody@example.com", f"{'n' * 64}@{LONG}"])
    club.change(
        title="さくら商店 友の会のみなさまへ" * 4,
        owner_address="owner@outside.test",
        posters="owner",
    )
    back = Member.objects.filter(lowered__startswith="kaiin00") | Member.objects.filter(
        lowered__startswith="nnn"
    )
    back.update(came_back=3, came_back_at=now())


def _mail(tanaka: Account, running: Running) -> tuple[int, int]:
    """Lay mail into tanaka's mailbox; return what IMAP knows one message by."""
    path = f"/domains/example.com/users/{tanaka.pk}/mail/"
    box = Mailbox(tanaka, running, logged_in(tanaka.domain.customer.user), path)
    known = dict(corpus())
    box.put(*(known[name] for name in _HOSTILE))
    box.put(*(message(f"{number}月のご請求書について") for number in range(1, 13)))
    found = wait_for(lambda: re.findall(rf"{path}(\d+)/(\d+)/", box.get()), 60)
    return int(found[0][0]), int(found[0][1])


def _changes(cast: Cast, tanaka: Account, suzuki: Account) -> None:
    """Leave changes behind that failed, that wait, that wait for another one, and that delete."""
    removal.delete_account(Account.objects.get(name="gone"))
    factories.settle()
    factories.make_forward(cast.com, "shippai", "a@outside.example")
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    tanaka.switch("ftp", True)
    factories.settle()
    tanaka.set_password(f"another-{factories.PASSWORD}")
    factories.make_account(Domain.objects.get(name=LONG), LONG_NAME)
    factories.make_account(cast.com, "sato")
    factories.make_forward(cast.com, "wait", "sato@example.com")
    removal.delete_account(suzuki)


def _imports(domain: Domain) -> dict[ImportState, int]:
    """Have files imported: one that was only checked, one under way, and one that is done."""
    made = {}
    accounts = "name,password,memo\nyoshida,,x\nroot,,y\ntanaka,,z\n"
    forwards = (
        "address,destination,destination\n"
        f"{'n' * 64},{'n' * 64}@{LONG},a@outside.example\n"
        "sales,tanaka@example.com,suzuki@example.com\nlong,b@outside.example,\n"
        f"{'very-wrong-' * 20}@{LONG},a@outside.example,\n"
    )
    for state, kind, text in (
        (ImportState.DONE, ImportKind.ACCOUNTS, accounts),
        (ImportState.RUNNING, ImportKind.FORWARDS, forwards),
        (ImportState.CHECKED, ImportKind.FORWARDS, forwards),
    ):
        name = f"{'とても長い名前の' * 8}.csv"
        job = imports.check(domain, kind, text.encode(), file_name=name, by=domain.customer.user)
        if state != ImportState.CHECKED:
            imports.confirm(job, by=domain.customer.user)
            job.refresh_from_db()
        if state == ImportState.DONE:
            imports.work(job, seconds=600)
        made[state] = job.pk
    return made


def _figures(tanaka: Account) -> None:
    """Let the mail server have told of everything that it tells of."""
    server, moment = tanaka.server, now()
    Report.objects.create(server=server, collected_at=moment, window_minutes=60)
    UsageReport.objects.create(server=server, collected_at=moment)
    for name, used in (("tanaka", 3), ("ito", 85), ("kato", 100), ("example", 96)):
        account = tanaka.domain.accounts.get(name=name)
        MailboxUsage.objects.create(
            account=account, used=used * _MB, messages=used, limit=100 * _MB, asked_at=moment
        )
        Notice.objects.create(account=account, kind="quota-80", to_account_at=moment)
    WaitingMail.objects.create(
        account=tanaka.domain.accounts.get(name="kato"), count=2, size=_MB, oldest_at=moment,
        first=[{"sender": _LONG_PEOPLE["sender"], "size": 999, "arrived": moment.timestamp()}],
    )  # fmt: skip
    for hour, way in ((0, "login"), (0, "auth")):
        SendingHour.objects.create(
            account=tanaka, day=localdate(), hour=hour, address="2001:db8::1234:5678:9abc:def0",
            way=way, recipients=880,
        )  # fmt: skip
    SendingWindow.objects.create(
        account=tanaka, network="203.0.113.7/32", address="203.0.113.7", way="pop3",
        login_at=moment, until=moment + timedelta(hours=1),
    )  # fmt: skip
    for day, times in ((localdate(), 5), (localdate() - timedelta(days=30), 1)):
        Refusal.objects.create(
            account=tanaka, day=day, reason="sender", at=moment, times=times, limit=0, reached=0,
            **_LONG_PEOPLE,
        )  # fmt: skip
    Guessing.objects.create(
        account=tanaka, wrong=30, told_at=moment, slowed_until=moment + timedelta(minutes=9),
        refused_until=moment + timedelta(hours=1),
        places=[
            {
                "network": "2001:db8:1234::/48",
                "wrong": 30,
                "last_at": moment.timestamp(),
                "known": False,
                "slowed_until": None,
                "refused_until": moment.timestamp() + 3600,
            }
        ],
    )  # fmt: skip


def _ways(cast: Cast) -> None:
    """Lead an address over ten steps, the last of them to a full mailbox and to a long address."""
    factories.make_forward(cast.com, "step9", "kato@example.com", f"{'n' * 64}@{LONG}")
    for number in range(8, -1, -1):
        factories.make_forward(cast.com, f"step{number}", f"step{number + 1}@example.com")


def _matters(cast: Cast) -> None:
    """Make an address for each thing that can be the matter with one."""
    for name in ("limit", "large", "later", "refused"):
        factories.make_forward(cast.com, name, f"{name}@{'o' * 50}.example")
    factories.make_forward(cast.com, "nowhere", "nobody@example.com")
    factories.make_forward(cast.com, "round", "about@example.com")
    factories.make_forward(cast.com, "about", "a@outside.example")


def _told(tanaka: Account) -> None:
    """Let the server have told of messages what the matter is; nothing waits there any more."""
    # No edit may close a circle; rows of an earlier time may.
    about = ForwardingAddress.objects.get(local_part="about")
    Destination.objects.create(forwarding=about, address="round@example.com", position=1)
    relay, far = f"mx.{'o' * 50}.example", {"other": _LONG_PEOPLE["sender"]}
    for name, fields in {
        "limit": {"side": "from", "kind": "refused", **_ours("day-recipients", 1000, 1001)},
        "large": {"side": "from", "kind": "refused", **_ours("size", 3 * _MB, 4 * _MB)},
        "later": {"side": "to", "kind": "deferred", "code": "4.7.1", "reason": "no-way-" * 42},
        "refused": {"side": "to", "kind": "bounced", "code": "5.4.7", "reason": "no-way-" * 42},
    }.items():
        where = {"relay": relay, "onward": f"{name}@{'o' * 50}.example"}
        MailEvent.objects.create(
            domain=tanaka.domain, address=f"{name}@example.com", at=now(), **far, **fields,
            **(where if fields["side"] == "to" else {}),
        )  # fmt: skip

    found = {name: diagnose(tanaka.domain, f"{name}@example.com").verdict.code for name in MATTERS}
    assert found == MATTERS


def _ours(reason: str, limit: int, reached: int) -> dict[str, str]:
    """Return code and text of a refusal by the policy daemon, as the log has them."""
    told = refusal(reason, limit=limit, reached=reached, help_url="https://panel.example/help")
    _smtp, code, text = told.split(" ", 2)
    return {"code": code, "reason": text}


def _events(tanaka: Account) -> None:
    """Let messages have met each fate, with the longest that addresses and reasons can be."""
    known = {"known_since": now() - KEPT, "known_until": now() + timedelta(hours=1)}
    EventReport.objects.create(server=tanaka.server, **known)
    long = {"other": _LONG_PEOPLE["sender"], "reason": "no-way-" * 42}
    for number, fields in enumerate(
        (
            {"side": "to", "kind": "delivered", "other": "friend@outside.example"},
            {"side": "to", "kind": "refused", "code": "5.1.1", "reason": "User unknown"},
            {"side": "to", "kind": "refused", "code": "4.3.0", "other": "friend@outside.example"},
            {"side": "from", "kind": "deferred", "code": "4.7.1", "relay": LONG, **long},
            {"side": "from", "kind": "bounced", "code": "5.7.1", "relay": LONG, **long},
        )
    ):
        MailEvent.objects.create(
            domain=tanaka.domain, address="tanaka@example.com", at=now() - timedelta(hours=number),
            **fields,
        )  # fmt: skip


def _rights(cast: Cast) -> None:
    """Let the owner have chosen for all mailboxes and for one, and one user his language."""
    DomainRights.objects.create(domain=cast.com)
    for name in ("ito", "kato"):
        AccountRights.objects.create(account=cast.com.accounts.get(name=name), forward=False)
    Preference.objects.create(account=cast.com.accounts.get(name="tanaka"), language="ja")


def _logins() -> None:
    """Leave behind what logging in does: a success, a failure, and those who may less."""
    Group.objects.create(name="support")
    form = {"username": "sakura", "password": factories.PASSWORD}
    browser().post("/login/", form)
    browser().post("/login/", form | {"password": "a wrong one"})


def _orders(cast: Cast, tanaka: Account) -> Option:
    """Leave orders of each state, messages to us, and a domain at its limit; return an option."""
    larger = Option.objects.create(kind=OptionKind.MAILBOX, amount=10 * _MB, setup_yen=500)
    messages = Option.objects.create(kind=OptionKind.MESSAGE, amount=7 * _MB, setup_yen=12_345_678)
    com, long = tanaka.domain, Account.objects.get(name=LONG_NAME)
    Order.objects.ask(domain=com, option=larger, account=tanaka).grant(by=cast.operator)
    Order.objects.ask(domain=com, option=messages, account=tanaka).take_back()
    Order.objects.ask(domain=com, option=messages, account=tanaka).refuse(
        "ただいまのサーバーでは10 MBが上限のため、今回は承ることができません。" * 4
    )
    for option in (larger, messages):
        Order.objects.ask(domain=long.domain, option=option, account=long)
    small = factories.make_plan("small", account_limit=1)
    factories.make_domain("full.example", customer=cast.sakura, plan=small, server=cast.server)
    for sender in (com.fixed_address, f"{'n' * 64}@{LONG}"):
        Inquiry.objects.create(
            domain=com, sender=sender, from_fixed=sender == com.fixed_address,
            subject="アカウントの追加について" * 6, text="よろしくお願いします。",
        )  # fmt: skip
    return larger


def _archives(tanaka: Account, homes: Path) -> tuple[dict[str, int], dict[JobState, int]]:
    """Keep archives, and have jobs and a run of every state."""
    known = dict(corpus())
    inside = [known[name] for name in _HOSTILE]
    inside += [mail(f"{number}月のご請求書について", "本文です\n" * 40) for number in range(1, 13)]
    archive = keep(homes, tanaka, written(inside), 2, messages=len(inside))
    keep(homes, tanaka, b"", 3, state="gone")
    ArchiveNews.objects.update(since=now() - timedelta(days=100))
    suzuki = tanaka.domain.accounts.get(name="suzuki")
    asked = {
        "domain": tanaka.domain, "server": tanaka.server, "account_name": "tanaka",
        "mailbox_id": tanaka.pk, "archive": archive,
    }  # fmt: skip
    ended = {"started_at": now(), "ended_at": now(), "state": JobState.DONE}
    done = ArchiveJob.objects.create(
        kind=JobKind.PUT_BACK, numbers=[1, 3], moved=2, moved_bytes=_MB, already=1, no_room=3,
        **asked | ended,
    )  # fmt: skip
    failed = ArchiveJob.objects.create(
        kind=JobKind.TAKE, code="home_full", trouble="No space left on device",
        **asked | ended | {"state": JobState.FAILED, "archive": None},
    )  # fmt: skip
    running = ArchiveJob.objects.create(
        kind=JobKind.TAKE, state=JobState.RUNNING, started_at=now(),
        **asked | {"archive": None, "mailbox_id": suzuki.pk, "account_name": "suzuki"},
    )  # fmt: skip
    waiting = ArchiveJob.objects.create(kind=JobKind.PUT_BACK, **asked)
    run = ArchiveRun.objects.create(
        server=tanaka.server, day=localdate(), started_at=now(), found=2, weekly=False
    )
    for account, fields in (
        (tanaka, {"file_name": archive.file_name, "messages": 7, "mail_bytes": 123456}),
        (
            suzuki,
            {
                "code": "home_full",
                "trouble": "No space left on device",
                "retry_at": now() + timedelta(minutes=5),
            },
        ),
    ):
        run.results.create(
            mailbox_id=account.pk, address=account.address, domain=tanaka.domain,
            ended_at=now(), attempts=1, **fields,
        )  # fmt: skip
    run.end()
    jobs = {JobState(job.state): job.pk for job in (done, failed, running, waiting)}
    return {name: number for number, name in enumerate(_HOSTILE, 1)}, jobs
