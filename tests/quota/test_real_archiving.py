"""The panel and a real server: a mailbox filled by deliveries is archived, and receives again."""

from __future__ import annotations

import gzip
import io
import mailbox
import re
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from accounts.models import Account
from mailhost.usage import figures
from propagation import reconcile
from propagation.apply import apply_due
from quota import notices, usage
from quota.archiving import jobs, news, weekly
from quota.models import (
    Archive,
    ArchiveJob,
    ArchiveNews,
    ArchiveRun,
    JobState,
    MailboxUsage,
    Notice,
)
from tests import factories
from tests.conftest import Cast, logged_in
from tests.servers import MailServer as Running
from tests.servers import message, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.django_db]

LIMIT = 100_000
HOME = "/domains/example.com/archives/"


@pytest.fixture
def site(cast: Cast, running: Running, settings: Settings) -> Cast:
    """The cast, on a server that really has it."""
    settings.MAILHOST_ROOT = str(running.root.parent)
    # The server remembers the tests before; the panel's wish wins.
    reconcile.repair(cast.server)
    return cast


@pytest.fixture
def box(site: Cast, running: Running, request: pytest.FixtureRequest) -> Account:
    """A mailbox of 100 KB that was filled by deliveries until the server refused more."""
    # One for each test: the server outlives the database's transaction.
    name = f"box{crc32(request.node.name.encode())}"
    account = factories.make_account(site.com, name)
    factories.come_due(site.server)
    apply_due(site.server)
    account.limit(quota_bytes=LIMIT)
    factories.come_due(site.server)
    apply_due(site.server)
    for number in range(4):
        if running.rcpt(account.address)[0] == 552:
            break
        send(running, account, f"number {number}")
        wait_for(lambda n=number: counted(running, account) > n)  # type: ignore[misc]
    assert wait_for(lambda: running.rcpt(account.address)[0] == 552), running.logs()
    usage.collect(site.server)
    return account


def counted(running: Running, account: Account) -> int:
    known = figures.of_account(running.root, account.name)
    return known.messages if known else 0


def send(running: Running, account: Account, subject: str, size: int = 40_000) -> None:
    with running.smtp() as client:
        text = ("x" * 70 + "\n") * (size // 72)
        client.sendmail("friend@outside.test", [account.address], message(subject, text))


def receives(running: Running, account: Account) -> bool:
    """Whether mail arrives: accepted by the server and in the mailbox afterwards."""
    if not wait_for(lambda: running.rcpt(account.address)[0] == 250):
        return False
    running.deliver(account.address, text="after the archiving")
    return bool(running.got(account.name, "after the archiving"))


def inside(running: Running, archive: Archive) -> list[str]:
    """Return the subjects in an archive's file, as Python's mailbox module reads them."""
    path = running.root / "homes" / archive.domain.home / archive.file_name
    plain = path.with_suffix(".mbox")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    try:
        with closing(mailbox.mbox(plain)) as found:
            return [str(mail["Subject"]) for mail in found]
    finally:
        plain.unlink()


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", text).split())


def test_week_s_command_lets_a_full_mailbox_receive_again(
    site: Cast, running: Running, box: Account
) -> None:
    kept = len(running.messages(box.name))
    out = io.StringIO()
    call_command("archive_overquota", stdout=out)
    assert f"{box.address}: {kept} messages" in out.getvalue()
    assert receives(running, box), running.logs()
    archive = Archive.objects.get(account_name=box.name)
    assert archive.messages == kept
    assert len(inside(running, archive)) == kept
    assert ArchiveRun.objects.get(weekly=True).results.get(address=box.address).code == ""
    # The account's own notice says where the mail is.
    notices.send_written(site.server)
    assert running.got(box.name, "X-Plusmail-Notice: archive-done"), running.logs()
    said = [notices.subject_and_text(one, to_customer=False) for one in Notice.objects.all()]
    assert archive.file_name in next(text for subject, text in said if "待避しました" in subject)


def test_page_archives_looks_puts_back_and_deletes(
    site: Cast, running: Running, box: Account
) -> None:
    client = logged_in(site.sakura.user)
    before = running.messages(box.name)
    asked = client.post(
        f"/domains/example.com/mailboxes/{box.pk}/archive/", {"which": "all"}
    ).headers["Location"]
    assert jobs.do_waiting(site.server) == 1
    assert f"are now in {box.name}.oldmail." in flat(client.get(asked).text)
    assert running.messages(box.name) == []
    archive = Archive.objects.get(account_name=box.name)
    page = client.get(f"{HOME}{archive.pk}/")
    assert "number 0" in page.text
    assert "xxxxx" in client.get(f"{HOME}{archive.pk}/messages/1/").text
    # One message, then all: none of them twice, and never over the limit.
    put_back(client, site, archive, number="1")
    assert len(running.messages(box.name)) == 1
    job = put_back(client, site, archive)
    assert job.already == 1
    assert job.moved + job.no_room + job.already == len(before)
    usage.collect(site.server)
    row = MailboxUsage.objects.get(account=box)
    assert row.used <= row.limit
    assert set(running.messages(box.name)) <= set(before)
    client.post(f"{HOME}{archive.pk}/delete/")
    assert jobs.do_waiting(site.server) == 1
    assert ArchiveJob.objects.filter(state=JobState.DONE, kind="delete").exists()
    assert not (running.root / "homes" / "example.com" / archive.file_name).exists()
    assert client.get(f"{HOME}{archive.pk}/").status_code == 404


def put_back(client: Client, site: Cast, archive: Archive, **chosen: str) -> ArchiveJob:
    client.post(f"{HOME}{archive.pk}/put-back/", {"sure": "1", **chosen})
    assert jobs.do_waiting(site.server) == 1
    job = ArchiveJob.objects.order_by("pk").last()
    assert job is not None
    assert job.state == JobState.DONE, job.trouble
    return job


def test_home_that_cannot_be_used_is_told_and_mended(
    site: Cast, running: Running, box: Account, tmp_path: Path
) -> None:
    home = running.root / "homes" / "example.com"
    aside = home.with_name("aside")
    home.rename(aside)
    home.symlink_to(tmp_path)
    try:
        run = weekly.run_now(site.server, accounts=[box.name])
        assert run is not None
        result = run.results.get()
        assert (result.code, list(tmp_path.iterdir())) == ("home_unsafe", [])
        assert len(running.messages(box.name)) > 1
    finally:
        home.unlink()
        aside.rename(home)
    run.results.update(retry_at=run.asked_at)
    assert weekly.retry(site.server) == 1
    assert run.results.get().code == ""
    assert receives(running, box)


def test_file_deleted_by_ftp_is_noticed(site: Cast, running: Running, box: Account) -> None:
    weekly.run_now(site.server, accounts=[box.name])
    archive = Archive.objects.get(account_name=box.name)
    (running.root / "homes" / "example.com" / archive.file_name).unlink()
    call_command("archive_overquota", account=[box.address], stdout=io.StringIO())

    ArchiveNews.objects.update(verified_at=None)
    news.collect(site.server)
    archive.refresh_from_db()
    assert archive.state == "gone"
