"""What customers ask for with archives: one thing at a time, done by the server's worker."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import Account, Domain
from mailhost.archive import PutBack
from propagation.models import MailServer
from quota import tasks, usage
from quota.archiving import jobs, news
from quota.models import Archive, ArchiveJob, JobState
from tests.conftest import logged_in
from tests.quota.engine import MB, Engine
from tests.quota.usages import Told

HOME = "/domains/example.com/archives/"


@pytest.fixture
def archived(engine: Engine, server: MailServer, alice: Account) -> Archive:
    """An archive of alice's, kept."""
    engine.make(alice)
    news.collect(server)
    return Archive.objects.get()


def now_path(account: Account) -> str:
    return f"/domains/example.com/mailboxes/{account.pk}/archive/"


def words(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return flat(response.text)


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", text).split())


def test_archive_now_from_the_page_to_its_end(
    engine: Engine, server: MailServer, com: Domain, alice: Account, sakura: Client
) -> None:
    engine.fill(alice)
    answer = sakura.post(now_path(alice), {"which": "all"})
    job = ArchiveJob.objects.get()
    path = f"{HOME}jobs/{job.pk}/"
    assert answer.headers["Location"] == path
    assert "Waiting" in words(sakura, path)
    assert "hx-trigger" in sakura.get(path).text
    assert "Waiting" in words(sakura, HOME)
    assert jobs.do_waiting(server) == 1
    assert ("take", "alice", False, False) in engine.asked
    said = words(sakura, path)
    assert "42 messages (11 MB) are now in alice.oldmail.20261202.gz." in said
    assert "hx-trigger" not in sakura.get(path).text
    assert Archive.objects.get().account_name == "alice"
    assert job.asked_by is not None


def test_only_the_oldest_can_be_chosen(
    engine: Engine, server: MailServer, com: Domain, alice: Account, sakura: Client
) -> None:
    engine.fill(alice)
    sakura.post(HOME, {"which": "oldest"})
    assert re.search(r'value="oldest" checked', sakura.get(now_path(alice)).text)
    sakura.post(now_path(alice), {"which": "oldest"})
    jobs.do_waiting(server)
    assert ("take", "alice", True, False) in engine.asked


@pytest.mark.parametrize("typed", [{}, {"which": "nothing"}])
def test_odd_form_asks_for_nothing(
    engine: Engine, alice: Account, sakura: Client, typed: dict[str, str]
) -> None:
    assert sakura.post(now_path(alice), typed).status_code == 200
    assert not ArchiveJob.objects.exists()


def test_second_job_of_a_mailbox_has_to_wait_for_the_first(
    engine: Engine, server: MailServer, com: Domain, alice: Account, archived: Archive, cast: Any
) -> None:
    jobs.archive_now(alice, com, oldest=False, by=None)
    with pytest.raises(ValidationError):
        jobs.archive_now(alice, com, oldest=True, by=None)
    with pytest.raises(ValidationError):
        jobs.put_back(archived, numbers=None, by=None)
    client = logged_in(cast.sakura.user)
    answer = client.post(f"{HOME}{archived.pk}/put-back/", {"sure": "1"}, follow=True)
    assert "Something is being done with it already." in flat(answer.text)
    assert ArchiveJob.objects.count() == 1


def test_database_itself_lets_one_open_job_be(archived: Archive, alice: Account) -> None:
    job = jobs.delete(archived, by=None)
    copy = ArchiveJob.objects.get(pk=job.pk)
    copy.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        copy.save(force_insert=True)


def test_messages_are_put_back_and_counted(
    engine: Engine, server: MailServer, archived: Archive, sakura: Client
) -> None:
    engine.putting = PutBack(put=30, already=5, no_room=7)
    answer = sakura.post(f"{HOME}{archived.pk}/put-back/", {"sure": "1"})
    jobs.do_waiting(server)
    assert engine.asked[-1] == ("put_back", archived.number, None)
    said = words(sakura, answer.headers["Location"])
    assert "30 messages were put back." in said
    assert "5 messages were in the mailbox already." in said
    assert "7 messages had no room and stay in the archive." in said


def test_chosen_messages_are_put_back(
    engine: Engine, server: MailServer, archived: Archive, sakura: Client
) -> None:
    sent = {"sure": "1", "number": ["7", "3", "3", "0", "43", "x", "٣", "9" * 30]}
    sakura.post(f"{HOME}{archived.pk}/put-back/", sent)
    jobs.do_waiting(server)
    assert engine.asked[-1] == ("put_back", archived.number, [3, 7])


def test_choosing_nothing_does_not_put_all_back(archived: Archive, sakura: Client) -> None:
    answer = sakura.post(f"{HOME}{archived.pk}/put-back/", {"chosen": "1"}, follow=True)
    assert "No message was chosen." in flat(answer.text)
    assert not ArchiveJob.objects.exists()


def test_putting_back_is_asked_before(archived: Archive, sakura: Client) -> None:
    path = f"{HOME}{archived.pk}/put-back/"
    said = words(sakura, path)
    assert "All 42 messages of the archive (11 MB) go back." in said
    assert "10 MB of 10 MB are free in the mailbox. That is not enough for all" in said
    assert not ArchiveJob.objects.exists()


def test_archive_of_a_deleted_account_stays_and_cannot_be_put_back(
    engine: Engine, server: MailServer, bob: Account, sakura: Client
) -> None:
    engine.make(bob)
    news.collect(server)
    row = Archive.objects.get()
    bob.forget()
    assert "bob.oldmail.20261202.gz" in words(sakura, HOME)
    for path in (f"{HOME}{row.pk}/", f"{HOME}{row.pk}/put-back/"):
        assert "The account has been deleted" in words(sakura, path)
    sakura.post(f"{HOME}{row.pk}/put-back/", {"sure": "1"})
    assert not ArchiveJob.objects.exists()
    sakura.post(f"{HOME}{row.pk}/delete/")
    assert jobs.do_waiting(server) == 1


def test_archive_is_deleted_after_it_was_said_what_is_lost(
    engine: Engine, server: MailServer, archived: Archive, sakura: Client
) -> None:
    path = f"{HOME}{archived.pk}/delete/"
    assert "42 messages (11 MB) that were taken out of alice@example.com" in words(sakura, path)
    answer = sakura.post(path)
    assert jobs.do_waiting(server) == 1
    assert "The archive is deleted." in words(sakura, answer.headers["Location"])
    assert "alice.oldmail" not in words(sakura, HOME)
    assert sakura.get(f"{HOME}{archived.pk}/").status_code == 404


def test_failure_is_told_in_words_and_can_be_tried_again(
    engine: Engine, server: MailServer, alice: Account, sakura: Client, operator: Client
) -> None:
    engine.fill(alice)
    engine.failing = {"alice": "home_full"}
    answer = sakura.post(now_path(alice), {"which": "all"})
    jobs.do_waiting(server)
    said = words(sakura, answer.headers["Location"])
    assert "There is no room for the archive in your web space." in said
    job = ArchiveJob.objects.get()
    assert (job.state, job.code, job.trouble) == (JobState.FAILED, "home_full", "It is home_full.")
    engine.failing = {}
    chosen = {"action": "again", "_selected_action": str(job.pk)}
    operator.post("/admin/quota/archivejob/", chosen, follow=True)
    assert jobs.do_waiting(server) == 1
    job.refresh_from_db()
    assert job.state == JobState.DONE


def test_job_whose_worker_was_killed_is_finished_by_the_next(
    engine: Engine, server: MailServer, com: Domain, alice: Account, bob: Account
) -> None:
    engine.fill(alice, bob)
    took = jobs.archive_now(alice, com, oldest=False, by=None)
    begun = jobs.archive_now(bob, com, oldest=False, by=None)
    # Both begun; the archive of one was made, and not noted.
    assert ArchiveJob.objects.claim_next(server) == took
    assert ArchiveJob.objects.claim_next(server) == begun
    engine.full = [one for one in engine.full if one.account != "alice"]
    engine.left = [engine.make(alice)]
    call_command("look_after_archives")
    took.refresh_from_db()
    begun.refresh_from_db()
    assert (took.state, took.moved) == (JobState.DONE, 42)
    assert begun.state == JobState.DONE
    assert [asked[1] for asked in engine.asked if asked[0] == "take"] == ["bob"]


def test_worker_is_told_when_the_job_is_on_record(
    engine: Engine,
    server: MailServer,
    com: Domain,
    alice: Account,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        tasks.do_archive_jobs, "apply_async", lambda **options: sent.append(options)
    )
    with django_capture_on_commit_callbacks(execute=True):
        jobs.archive_now(alice, com, oldest=False, by=None)
        assert sent == []
    assert sent == [{"args": (server.pk,), "queue": server.queue, "expires": 600}]


@pytest.mark.django_db(transaction=True)
def test_page_answers_while_the_broker_is_down(
    engine: Engine, com: Domain, alice: Account, sakura: Client
) -> None:
    answer = sakura.post(now_path(alice), {"which": "all"})
    assert answer.status_code == 302
    assert ArchiveJob.objects.get().state == JobState.WAITING


def test_size_of_archives_is_that_of_the_home(
    engine: Engine, server: MailServer, alice: Account, sakura: Client
) -> None:
    engine.make(alice, file_bytes=3 * MB)
    engine.make(alice, file_bytes=2 * MB, file_name="alice.oldmail.20261202-2.gz")
    engine.mark(1, "gone")
    news.collect(server)
    said = words(sakura, HOME)
    assert "Of your web space2 MB" in said
    assert "Deleted or changed by FTP" in said


def test_room_is_known_as_soon_as_the_job_has_ended(
    told: Told,
    server: MailServer,
    com: Domain,
    alice: Account,
    sakura: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told.hold(alice, 10.5)
    usage.collect(server)
    engine = Engine(told.root)
    engine.answer(monkeypatch)
    engine.fill(alice)
    jobs.archive_now(alice, com, oldest=False, by=None)
    told.hold(alice, 0, messages=0)  # as the server counts at the end of the archiving
    jobs.do_waiting(server)
    path = f"{HOME}{Archive.objects.get().pk}/put-back/"
    assert "10 MB of 10 MB are free in the mailbox." in words(sakura, path)
