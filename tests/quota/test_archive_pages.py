"""Looking into archives and fetching them: what is shown, and to whom; hostile files do no harm."""

from __future__ import annotations

import gzip
import os
import re
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from accounts.models import Account, Domain
from propagation.models import MailServer
from quota.archiving import pages
from quota.models import Archive, ArchiveNews, ArchiveRun, ArchiveRunResult, MailboxUsage
from tests.conftest import Cast, browser, logged_in
from tests.quota.files import keep, mail, written

HOME = "/domains/example.com/archives/"
BOMB = gzip.compress(b"\0" * 200_000_000)


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def words(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return flat(response.text)


def of(archive: Archive, what: str = "") -> str:
    return f"{HOME}{archive.pk}/{what}"


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """The mail server's directory of homes."""
    made = tmp_path / "homes"
    made.mkdir()
    return made


@pytest.fixture
def archive(homes: Path, alice: Account) -> Archive:
    """An archive of alice's with three messages."""
    messages = [mail("一通目", "本文です"), mail("second <b>"), mail("third")]
    return keep(homes, alice, written(messages, "Sent/2026"), messages=3)


def test_few_are_looked_through_at_once(archive: Archive, sakura: Client) -> None:
    with ExitStack() as others:
        for _ in range(pages.READERS):
            others.enter_context(pages.reading(archive))
        began = time.monotonic()
        assert "second" not in words(sakura, of(archive))
        assert time.monotonic() - began < 10
        assert "try again later" in words(sakura, of(archive, "messages/2/"))
    assert "second" in words(sakura, of(archive))


def test_list_shows_what_there_is(archive: Archive, sakura: Client) -> None:
    said = words(sakura, HOME)
    for shown in ("alice", archive.file_name, archive.sha256):
        assert shown in said


def test_inside_is_listed(archive: Archive, sakura: Client) -> None:
    said = words(sakura, of(archive))
    for shown in ("一通目", "second &lt;b&gt;", "friend@outside.test", "Sent/2026", archive.sha256):
        assert shown in said
    assert "1 to 3 of 3" in said


def test_message_is_shown_as_text(archive: Archive, sakura: Client) -> None:
    said = words(sakura, of(archive, "messages/1/"))
    for shown in ("一通目", "本文です", "alice@example.com", "Next message"):
        assert shown in said
    for number in (0, 4, 10**30):
        assert sakura.get(of(archive, f"messages/{number}/")).status_code == 404


def test_hostile_message_stays_text(homes: Path, alice: Account, sakura: Client) -> None:
    evil = '<script>alert(1)</script><img src="https://tracker.example/x.png" onerror=alert(1)>'
    page = (
        b"From: <script>a@b.example\r\nSubject: =?utf-8?b?PHNjcmlwdD4=?= {% csrf_token %}\r\n"
        b'Content-Type: text/html; name="<script>"\r\n\r\n'
        + f'<p>Hello {{{{ 7 }}}} <a href="javascript:alert(1)">link</a></p>{evil}'.encode()
    )
    archive = keep(homes, alice, written([page, mail(evil, evil, f'"{evil}" <a@b.example>')]))
    Archive.objects.update(messages=2)
    for path in (of(archive), of(archive, "messages/1/"), of(archive, "messages/2/")):
        response = sakura.get(path)
        assert response.status_code == 200
        body = response.text[response.text.index('id="main"') :]
        assert "<script" not in body
        assert "<img" not in body
        tags = " ".join(re.findall("<[^>]*>", body))
        assert "javascript:" not in tags
        assert "tracker.example" not in tags
        assert "'none'" in response.headers["Content-Security-Policy"]


def test_chosen_messages_are_named_before_they_go_back(archive: Archive, sakura: Client) -> None:
    response = sakura.post(of(archive, "put-back/"), {"chosen": "1", "number": ["1", "3"]})
    said = flat(response.text)
    assert "2 chosen messages" in said
    assert "一通目" in said
    assert "second" not in said
    assert response.text.count('name="number"') == 2


def test_room_in_the_mailbox_is_told(archive: Archive, alice: Account, sakura: Client) -> None:
    path = of(archive, "put-back/")
    assert "That is enough." in words(sakura, path)
    limit = 10 * 1024 * 1024
    figures = {"messages": 9, "limit": limit, "asked_at": now()}
    MailboxUsage.objects.create(account=alice, used=limit - 1024, **figures)
    assert "1 KB of 10 MB are free in the mailbox. That is not enough for all" in words(
        sakura, path
    )
    MailboxUsage.objects.update(used=limit)
    assert "Nothing has room" in words(sakura, path)


def test_download_is_the_file_and_goes_on(archive: Archive, homes: Path, sakura: Client) -> None:
    content = (homes / "example.com" / archive.file_name).read_bytes()
    path = of(archive, "download/")
    response = sakura.get(path)
    assert response.status_code == 200
    assert response.getvalue() == content
    assert response.headers["ETag"] == f'"{archive.sha256}"'
    assert response.headers["Content-Disposition"] == f'attachment; filename="{archive.file_name}"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in response.headers["Cache-Control"]
    rest = sakura.get(path, headers={"range": "bytes=100-", "if-range": f'"{archive.sha256}"'})
    assert (rest.status_code, rest.getvalue()) == (206, content[100:])
    assert sakura.head(path).headers["Content-Length"] == str(len(content))


def test_file_replaced_by_ftp_is_not_taken_for_the_archive(
    archive: Archive, homes: Path, sakura: Client
) -> None:
    (homes / "example.com" / archive.file_name).write_bytes(b"something else")
    headers = {"range": "bytes=5-", "if-range": f'"{archive.sha256}"'}
    response = sakura.get(of(archive, "download/"), headers=headers)
    assert (response.status_code, response.getvalue()) == (200, b"something else")
    assert response.headers["ETag"] != f'"{archive.sha256}"'


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"no mbox"), BOMB, BOMB[:999]],
    ids=["empty", "no gzip", "no mbox", "bomb", "cut off"],
)
def test_hostile_file_does_no_harm(
    homes: Path, alice: Account, sakura: Client, content: bytes
) -> None:
    archive = keep(homes, alice, content)
    begun = time.monotonic()
    for path in (of(archive), of(archive, "messages/1/")):
        assert "The archive cannot be shown." in words(sakura, path)
    chosen = {"chosen": "1", "number": "1"}
    assert sakura.post(of(archive, "put-back/"), chosen).status_code == 200
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "missing"])
def test_what_is_no_file_is_not_opened(
    archive: Archive, homes: Path, tmp_path: Path, sakura: Client, kind: str
) -> None:
    place = homes / "example.com" / archive.file_name
    place.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(written([mail("secret")]))
    if kind == "link":
        place.symlink_to(secret)
    elif kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    for path in (of(archive), of(archive, "messages/1/")):
        said = words(sakura, path)
        assert "The archive cannot be shown." in said
        assert "secret" not in said
    response = sakura.get(of(archive, "download/"), follow=True)
    assert response.redirect_chain == [(of(archive), 302)]
    assert "Content-Disposition" not in response.headers


def test_server_on_another_machine_is_said_plainly(archive: Archive, sakura: Client) -> None:
    ArchiveNews.objects.update(homes_root="/nowhere/homes")
    said = words(sakura, of(archive))
    assert "This page cannot read the file on the mail server." in said
    assert f"Fetch it by FTP from the home directory: {archive.file_name}" in said


@pytest.mark.parametrize(
    "path",
    [
        "{id}/", "{id}/messages/1/", "{id}/download/", "{id}/put-back/", "{id}/delete/",
        "{id}/../{id}/", "..%2f..%2fexample.com/archives/{id}/", "..%2Farchives%2F{id}%2F",
        "alice.oldmail.20261202.gz", "alice.oldmail.20261202.gz/download/",
        "{id}/download/..%2f..%2fetc%2fpasswd", "{id}/download/alice.oldmail.20261202.gz",
        "-1/", "999999999999999999999999/", "jobs/1/",
    ],
)  # fmt: skip
def test_others_archives_cannot_be_guessed(archive: Archive, cast: Cast, path: str) -> None:
    for domain in ("example.com", "wakaba.example"):
        for method in ("get", "post", "head", "put", "delete"):
            address = f"/domains/{domain}/archives/{path.format(id=archive.pk)}"
            response = getattr(logged_in(cast.wakaba.user), method)(address)
            # 405: what a page with any number there answers.
            assert response.status_code in ({404} if domain == "example.com" else {404, 405}), (
                address
            )
    assert browser().get(of(archive, "download/")).status_code == 302


def test_archive_of_another_domain_of_the_same_customer_is_not_there(
    archive: Archive, sakura: Client
) -> None:
    assert sakura.get(f"/domains/example.net/archives/{archive.pk}/").status_code == 404


def test_search_and_orders(homes: Path, alice: Account, bob: Account, sakura: Client) -> None:
    for number in range(1, 4):
        keep(homes, alice, written([mail("x")]), number)
    keep(homes, bob, written([mail("x" * n) for n in range(30)]), 9)

    def names(query: str) -> list[str]:
        return re.findall(
            r'<strong class="address">(\w+)</strong>', sakura.get(f"{HOME}?{query}").text
        )

    assert names("q=bob") == ["bob"]
    assert names("q=bob@example.com") == ["bob"]
    assert names("sort=size")[0] == "bob"
    assert names("sort=account") == ["alice"] * 3 + ["bob"]
    assert names("sort=nonsense&page=zzz")[0] == "bob"
    assert names("q=zzz") == []
    assert names("q=zzz%00") == names("")


def test_list_costs_the_same_queries_at_any_length(
    homes: Path, alice: Account, sakura: Client
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert sakura.get(HOME).status_code == 200
        return len(captured)

    row = keep(homes, alice, b"x")
    few = queries()
    copies = []
    for number in range(2, 202):
        copy = Archive.objects.get(pk=row.pk)
        copy.pk, copy.number = None, number
        copies.append(copy)
    Archive.objects.bulk_create(copies)
    assert queries() == few
    assert few <= 20
    assert "51 to 100 of 201" in words(sakura, f"{HOME}?page=2")


def test_home_page_tells_for_a_week(
    com: Domain, server: MailServer, alice: Account, sakura: Client
) -> None:
    run = ArchiveRun.objects.create(server=server, day=now().date())
    fields = {"run": run, "domain": com, "ended_at": now()}
    done = ArchiveRunResult.objects.create(
        mailbox_id=alice.pk,
        address="alice@example.com",
        file_name="alice.oldmail.20261202.gz",
        messages=42,
        mail_bytes=2048,
        **fields,
    )
    ArchiveRunResult.objects.create(
        mailbox_id=com.fixed_account.pk, address="example@example.com", code="home_full", **fields
    )
    said = words(sakura, "/domains/example.com/")
    assert "The mailbox alice@example.com was full" in said
    assert "42 messages (2 KB) were moved to alice.oldmail.20261202.gz" in said
    assert "The mail of example@example.com could not be archived. There is no room" in said
    done.ended_at = now().replace(year=2020)
    done.save()
    assert "alice.oldmail" not in words(sakura, "/domains/example.com/")


def test_failure_that_is_over_is_told_no_more(
    com: Domain, server: MailServer, alice: Account, homes: Path, sakura: Client
) -> None:
    run = ArchiveRun.objects.create(server=server, day=now().date())
    ArchiveRunResult.objects.create(
        run=run,
        domain=com,
        mailbox_id=alice.pk,
        address="alice@example.com",
        code="home_unsafe",
        ended_at=now() - timedelta(hours=1),
    )
    assert "could not be archived" in words(sakura, "/domains/example.com/")
    since = keep(homes, alice, written([mail("later")], "INBOX"), messages=1)
    Archive.objects.filter(pk=since.pk).update(taken_at=now())
    assert "could not be archived" not in words(sakura, "/domains/example.com/")


def test_operator_sees_the_week_s_report(
    server: MailServer, com: Domain, alice: Account, archive: Archive, operator: Client
) -> None:
    run = ArchiveRun.objects.create(server=server, day=now().date(), started_at=now(), found=2)
    run.end()
    result = ArchiveRunResult.objects.create(
        run=run, mailbox_id=alice.pk, address="alice@example.com", domain=com, code="home_readonly",
        trouble="The home is read-only.",
    )  # fmt: skip
    assert "not archived" in words(operator, "/admin/quota/archiverun/").lower()
    said = words(operator, f"/admin/quota/archiverun/{run.pk}/change/")
    assert "The home is read-only." in said
    assert "look at the file system and its mount" in said
    assert archive.file_name in words(operator, "/admin/quota/archive/")
    chosen = {"action": "again", "_selected_action": str(run.pk)}
    assert "1 mailbox(es) are tried again." in flat(
        operator.post("/admin/quota/archiverun/", chosen, follow=True).text
    )
    result.refresh_from_db()
    assert result.retry_at is not None


def test_operator_makes_up_a_missed_run_with_one_button(
    server: MailServer, operator: Client, sakura: Client
) -> None:
    path = f"/admin/quota/archiverun/run-now/{server.pk}/"
    assert "not archived on Wednesday" not in words(operator, "/admin/")
    ArchiveNews.objects.create(server=server, since=now().replace(year=2020))
    if now().astimezone().weekday() != 2:
        said = words(operator, "/admin/")
        assert "the full mailboxes were not archived on Wednesday" in said
        assert path in operator.get("/admin/").text
    assert operator.get(path).status_code == 405
    assert sakura.post(path).status_code == 302
    assert not ArchiveRun.objects.exists()
    assert "archives its full mailboxes now." in flat(operator.post(path, follow=True).text)
    assert ArchiveRun.objects.get().asked_by is not None
    assert "not archived on Wednesday" not in words(operator, "/admin/")
