"""Imports by the pages: the dry run, the work of a worker, and what is refused."""

from __future__ import annotations

import csv
import io
import re
import time
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import translation
from django.utils.timezone import now

from accounts import passwords
from accounts.models import Account, Domain
from bulk import jobs, tasks
from bulk.models import Import, ImportRow
from forwarding.models import ForwardingAddress
from propagation.models import Change
from tests import factories
from tests.conftest import logged_in

HOME = "/domains/example.com/csv/"
PASSWORD = "a-long-word-of-tanakas"


@pytest.fixture(autouse=True)
def _english() -> None:
    translation.activate("en")


def upload(client: Client, kind: str, text: str | bytes, domain: str = "example.com") -> Import:
    """Send a file; return the import that the dry run made."""
    content = text.encode() if isinstance(text, str) else text
    file = SimpleUploadedFile("list.csv", content)
    answer = client.post(f"/domains/{domain}/csv/", {"kind": kind, "file": file})
    assert answer.status_code == 302, flat(answer.text)
    return Import.objects.latest("pk")


def refusal(client: Client, kind: str, content: bytes) -> str:
    """Send a file that cannot be read; return the page."""
    answer = client.post(HOME, {"kind": kind, "file": SimpleUploadedFile("list.csv", content)})
    assert answer.status_code == 422
    assert not Import.objects.exists()
    return flat(answer.text)


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def outcomes(job: Import) -> dict[str, str]:
    """Return what comes of each row, by what it is about."""
    return {row.subject: row.outcome for row in job.rows.all()}


def reasons(job: Import, language: str = "en") -> dict[int, str]:
    return {row.number: row.reasons[language] for row in job.rows.filter(outcome="refused")}


def confirmed(client: Client, job: Import) -> Import:
    """Confirm an import, and let it be done."""
    client.post(path(job), {"confirm": "1"})
    call_command("do_imports")
    job.refresh_from_db()
    assert job.state == "done"
    return job


def path(job: Import) -> str:
    return f"{HOME}imports/{job.pk}/"


def download(client: Client, what: str, encoding: str = "utf-8") -> bytes:
    answer = client.get(f"{HOME}{what}.csv", {"encoding": encoding})
    assert answer.status_code == 200
    return answer.content


def test_accounts_from_the_file_to_their_passwords(com: Domain, sakura: Client) -> None:
    job = upload(sakura, "accounts", f"name,password,ftp\nTanaka,,on\nsuzuki,{PASSWORD},\nroot,,\n")
    assert outcomes(job) == {
        "tanaka@example.com": "add",
        "suzuki@example.com": "add",
        "root": "refused",
    }
    assert Account.objects.filter(name="tanaka").count() == 0
    page = flat(sakura.get(path(job)).text)
    assert "Import 2 rows" in page
    assert "This name is reserved" in page
    confirmed(sakura, job)
    tanaka, suzuki = (Account.objects.get(name=name) for name in ("tanaka", "suzuki"))
    assert (tanaka.ftp, suzuki.ftp) == (True, False)
    assert passwords.verify(PASSWORD, suzuki.password_hash)
    assert factories.pending(tanaka.key).made_by == com.customer.user
    answer = sakura.post(path(job), {"passwords": "1"})
    [_head, [address, password]] = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert address == "tanaka@example.com"
    assert passwords.verify(password, tanaka.password_hash)
    # Once.
    assert sakura.post(path(job), {"passwords": "1"}).status_code == 302
    assert "The passwords were fetched" in flat(sakura.get(path(job)).text)


def test_no_password_is_stored(com: Domain, sakura: Client) -> None:
    job = upload(sakura, "accounts", f"name,password\ntanaka,{PASSWORD}\nsuzuki,\nito,short\n")
    rows = str(list(ImportRow.objects.values())) + str(list(Import.objects.values()))
    assert PASSWORD not in rows
    assert "short'" not in rows
    confirmed(sakura, job)
    assert not ImportRow.objects.exclude(password_hash="").exists()
    job.refresh_from_db()
    made = dict(jobs.new_passwords(job))
    assert list(made) == ["suzuki@example.com"]
    assert made["suzuki@example.com"] not in str(list(Import.objects.values()))


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis"])
def test_importing_an_export_again_changes_nothing(
    com: Domain, sakura: Client, encoding: str
) -> None:
    factories.make_account(com, "tanaka").switch("ftp", True)
    factories.make_forward(com, "info", "tanaka@example.com", "_+='x@example.org")
    factories.make_forward(com, "_sales", "Info@Example.org")
    factories.make_forward(com, "", "tanaka@example.com")
    before = list(Change.objects.order_by("pk").values())
    for kind in ("accounts", "forwards"):
        content = download(sakura, kind, encoding)
        for language in ("ja", "en"):
            sakura.cookies["django_language"] = language
            job = upload(sakura, kind, content)
            assert set(outcomes(job).values()) == {"same"}, outcomes(job)
        assert "Import 1" not in sakura.get(path(job)).text
        sakura.post(path(job), {"confirm": "1"})
        call_command("do_imports")
    assert list(Change.objects.order_by("pk").values()) == before


def test_same_password_again_changes_nothing(com: Domain, sakura: Client) -> None:
    factories.make_account(com, "tanaka")
    text = f"name,password\ntanaka,{factories.PASSWORD}"
    assert outcomes(upload(sakura, "accounts", text)) == {"tanaka@example.com": "same"}
    job = upload(sakura, "accounts", f"name,password\ntanaka,{PASSWORD}")
    assert outcomes(job) == {"tanaka@example.com": "change"}
    confirmed(sakura, job)
    assert passwords.verify(PASSWORD, Account.objects.get(name="tanaka").password_hash)


def test_forwards_are_added_and_changed(com: Domain, sakura: Client) -> None:
    factories.make_account(com, "tanaka")
    factories.make_forward(com, "info", "x@example.org")
    factories.settle()
    job = upload(
        sakura,
        "forwards",
        "アドレス,転送先,転送先 2\n"
        "ｉｎｆｏ＠example.com,tanaka@example.com,x@example.org\n"
        'sales,"info@example.com\ny@example.org、z@example.org"\n',
    )
    assert outcomes(job) == {"info@example.com": "change", "sales@example.com": "add"}
    confirmed(sakura, job)
    leads = {row.local_part: row.leads_to() for row in ForwardingAddress.objects.all()}
    assert leads == {
        "info": ["tanaka@example.com", "x@example.org"],
        "sales": ["info@example.com", "y@example.org", "z@example.org"],
    }
    change = factories.pending("address:sales@example.com")
    assert (change.after or {})["destinations"] == leads["sales"]


def test_rows_are_refused_each_with_its_reason_in_both_languages(
    com: Domain, other: Domain, sakura: Client
) -> None:
    factories.make_list(com, "club", "x@example.org")
    job = upload(
        sakura,
        "forwards",
        "address,destination\n"
        "one,two@example.com\n"
        "two,one@example.com\n"
        "club,x@example.org\n"
        "ok,no address\n"
        "ok,x@example.org\n"
        "OK,y@example.org\n"
        "x@wakaba.example,x@example.org\n"
        "*,x@example.org\n"
        "nothing,\n"
        ",x@example.org\n"
        "much,x@example.org,y@example.org\n",
    )
    told = reasons(job)
    assert outcomes(job)["one@example.com"] == "add"
    assert "round in a circle" in told[3]
    assert "mailing list" in told[4]
    assert "not an address" in told[5]
    assert "An earlier row" in told[7]
    assert "not an address of example.com" in told[8]
    assert "set in Email Forwarding" in told[9]
    assert "at least one address" in told[10]
    assert "Fill in the first column" in told[11]
    assert "more cells" in told[12]
    assert sorted(told) == [3, 4, 5, 7, 8, 9, 10, 11, 12]
    japanese = reasons(job, "ja")
    assert japanese.keys() == told.keys()
    assert all(re.search("[ぁ-ん]", words) for words in japanese.values())
    page = logged_in(com.customer.user, "ja").get(path(job), {"q": "refused"}).text
    assert all(japanese[number] in page for number in (5, 12))


def test_limit_of_the_plan_holds_in_the_dry_run_and_in_the_work(
    com: Domain, sakura: Client
) -> None:
    com.plan.account_limit = 3
    com.plan.save(update_fields=["account_limit"])
    text = "name\n" + "".join(f"user{number}\n" for number in range(4))
    job = upload(sakura, "accounts", text)
    assert list(outcomes(job).values()) == ["add", "add", "refused", "refused"]
    assert "3 of 3 accounts" in reasons(job)[4]
    factories.make_account(com, "quicker")
    confirmed(sakura, job)
    assert com.accounts.count() == 3
    assert list(outcomes(job).values()) == ["add", "refused", "refused", "refused"]


def test_name_that_another_customer_has_is_refused_without_telling_whose(
    com: Domain, other: Domain, sakura: Client
) -> None:
    factories.make_account(other, "info")
    job = upload(sakura, "accounts", "name\ninfo\n")
    assert reasons(job)[2].startswith("Error: User exists. Choose another username. Somebody")


def test_what_changed_since_the_dry_run_is_judged_again(com: Domain, sakura: Client) -> None:
    job = upload(sakura, "accounts", "name\ntanaka\nsuzuki\n")
    mine = factories.make_account(com, "tanaka")
    confirmed(sakura, job)
    assert outcomes(job) == {"tanaka@example.com": "refused", "suzuki@example.com": "add"}
    assert "added meanwhile" in reasons(job)[2]
    mine.refresh_from_db()
    assert passwords.verify(factories.PASSWORD, mine.password_hash)


def test_account_that_went_since_the_dry_run_does_not_come_back(
    com: Domain, sakura: Client
) -> None:
    tanaka = factories.make_account(com, "tanaka")
    job = upload(sakura, "accounts", f"name,password\ntanaka,{PASSWORD}1\n")
    assert outcomes(job) == {"tanaka@example.com": "change"}
    tanaka.delete_later()  # it was never on the server: it is gone at once
    confirmed(sakura, job)
    assert "no longer exists" in reasons(job)[2]
    assert not Account.objects.filter(name="tanaka").exists()


def test_account_that_is_being_deleted_is_refused(com: Domain, sakura: Client) -> None:
    tanaka = factories.make_account(com, "tanaka")
    factories.settle()
    tanaka.delete_later()
    job = upload(sakura, "accounts", "name,ftp\ntanaka,on\n")
    assert "being deleted" in reasons(job)[2]


def test_file_that_cannot_be_read_is_refused_beside_its_field(com: Domain, sakura: Client) -> None:
    assert "workbook" in refusal(sakura, "accounts", b"PK\x03\x04")
    assert "name the columns" in refusal(sakura, "accounts", b"tanaka,\n")
    many = "name,password\n" + "".join(f"u{n},{PASSWORD}{n}\n" for n in range(201))
    assert "names 201 passwords" in refusal(sakura, "accounts", many.encode())
    answer = sakura.post(HOME, {"kind": "accounts"})
    assert "Choose a file first." in answer.text


def test_too_large_a_file_is_refused_unread(
    com: Domain, sakura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_BYTES", 10)
    assert "larger than" in refusal(sakura, "accounts", b"name\ntanaka\n")


def test_discarded_import_is_gone_and_a_new_file_replaces_an_unconfirmed_one(
    com: Domain, sakura: Client
) -> None:
    first = upload(sakura, "accounts", "name\ntanaka\n")
    second = upload(sakura, "accounts", "name\nsuzuki\n")
    assert not Import.objects.filter(pk=first.pk).exists()
    sakura.post(path(second), {"discard": "1"})
    assert not Import.objects.exists()
    third = upload(sakura, "accounts", "name\nsuzuki\n")
    confirmed(sakura, third)
    sakura.post(path(third), {"discard": "1"})
    assert Import.objects.filter(pk=third.pk).exists()


def test_progress_is_shown_while_it_works(
    com: Domain, sakura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PORTION", 2)
    factories.make_account(com, "ito")
    job = upload(sakura, "accounts", "name\nito\na1\na2\na3\n")
    sakura.post(path(job), {"confirm": "1"})
    job.refresh_from_db()
    page = sakura.get(path(job)).text
    assert '<progress id="progress" max="4" value="1">' in page
    assert "hx-trigger" in page
    one_portion(job, monkeypatch)
    assert 'value="3"' in sakura.get(path(job)).text
    assert set(com.accounts.values_list("name", flat=True)) == {"example", "ito", "a1", "a2"}
    tasks.do_import(job.pk)
    tasks.do_import(job.pk)
    assert com.accounts.count() == 5
    assert "<progress" not in sakura.get(path(job)).text


def one_portion(job: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker do one portion."""
    moments = iter([0.0, 0.0, 99.0])
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(moments))
        assert not jobs.work(job, seconds=1)


def test_portion_that_fails_is_done_row_by_row(
    com: Domain, sakura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = upload(sakura, "accounts", "name\na1\nbad\na2\n")
    save = jobs.KINDS["accounts"].batch(com, []).save.__func__  # type: ignore[attr-defined]

    def failing(batch: object, *, by: object) -> None:
        if batch._many.get("bad"):  # type: ignore[attr-defined]
            raise ValueError("no idea")
        save(batch, by=by)

    monkeypatch.setattr("bulk.kinds._AccountBatch.save", failing)
    confirmed(sakura, job)
    assert outcomes(job) == {
        "a1@example.com": "add",
        "bad@example.com": "refused",
        "a2@example.com": "add",
    }
    assert set(com.accounts.values_list("name", flat=True)) == {"example", "a1", "a2"}
    assert len(jobs.new_passwords(job)) == 2


def test_import_that_nobody_is_at_is_taken_up_again(
    com: Domain, sakura: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = upload(sakura, "accounts", "name\na1\n")
    sakura.post(path(job), {"confirm": "1"})
    sent: list[int] = []
    monkeypatch.setattr(jobs, "send", sent.append)
    tasks.look_after_imports()
    assert sent == []
    Import.objects.update(touched_at=now() - timedelta(minutes=1))
    tasks.look_after_imports()
    assert sent == [job.pk]


def test_what_is_old_is_forgotten(com: Domain, sakura: Client) -> None:
    done = confirmed(sakura, upload(sakura, "accounts", "name\na1\n"))
    waiting = upload(sakura, "accounts", "name\na2\n")
    tasks.forget_imports()
    assert Import.objects.count() == 2
    Import.objects.update(made_at=now() - timedelta(days=2))
    Import.objects.filter(pk=done.pk).update(ended_at=now() - timedelta(days=2))
    tasks.forget_imports()
    assert not Import.objects.filter(pk=waiting.pk).exists()
    done.refresh_from_db()
    assert jobs.new_passwords(done) == []
    assert "nobody knows them" in sakura.get(path(done)).text
    Import.objects.update(ended_at=now() - timedelta(days=31))
    tasks.forget_imports()
    assert not Import.objects.exists()


def test_plan_without_self_service_takes_forwards_only(com: Domain, sakura: Client) -> None:
    com.plan.self_service = False
    com.plan.save(update_fields=["self_service"])
    assert "we add and delete accounts for you" in sakura.get(HOME).text
    file = SimpleUploadedFile("list.csv", b"name\na1\n")
    assert sakura.post(HOME, {"kind": "accounts", "file": file}).status_code == 403
    upload(sakura, "forwards", "address,destination\ninfo,x@example.org\n")


def test_unknown_encoding_is_404(com: Domain, sakura: Client) -> None:
    assert sakura.get(f"{HOME}accounts.csv", {"encoding": "latin"}).status_code == 404


def test_switches_are_understood_in_both_languages(com: Domain, sakura: Client) -> None:
    job = upload(sakura, "accounts", "アカウント名,FTP,SSH\na1,はい,×\na2,○,オン\na3,maybe,\n")
    assert "enter on or off" in reasons(job)[4]
    confirmed(sakura, job)
    found = Account.objects.filter(name__in=["a1", "a2"]).order_by("name")
    assert [account.switches() for account in found] == [
        {"ftp": True, "ssh": False},
        {"ftp": True, "ssh": True},
    ]
