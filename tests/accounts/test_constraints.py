"""The database itself refuses what no row may be: every constraint, by raw SQL and by the ORM."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from django.apps import apps
from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import ProtectedError
from django.utils.timezone import now

from accounts.models import Account, DeletedAccount, Domain, OwnLimits, Plan
from bulk.models import Import, ImportRow
from forwarding.models import DetachedDestination, ForwardingAddress, MailingList, Member
from history.models import Entry
from mailuser.models import AccountRights, AutoReply, DomainRights
from orders.models import Inquiry, Option, Order
from propagation.models import Change, ChangeState, MailServer, Need
from quota.models import (
    Archive,
    ArchiveJob,
    ArchiveRun,
    ArchiveRunResult,
    MailboxUsage,
    Notice,
    Refusal,
    SendingHour,
    SendingWindow,
    UsageWarning,
    WaitingMail,
)
from remotemail.models import MailAccess
from tests import factories
from tests.conftest import Cast
from tests.snapshot import OURS
from tracing.models import MailEvent

DAY = date(2026, 12, 2)
HASH = "{SHA512-CRYPT}$6$rounds=1000$abcdefgh$" + "x" * 86


@contextmanager
def refused(by: str = "") -> Iterator[None]:
    """Expect the database to refuse, at the latest when the transaction would end."""
    with pytest.raises((IntegrityError, DataError)) as error, transaction.atomic():  # noqa: PT012
        yield
        connection.check_constraints()
    if by and connection.vendor == "postgresql":
        assert by in str(error.value)


def insert(model: type[models.Model], **values: Any) -> None:
    """Insert a row as if by psql or sqlite3: no form, no model, no default in between."""
    fields = [model._meta.get_field(name) for name in values]
    columns = [getattr(field, "column") for field in fields]  # noqa: B009
    quoted = ", ".join(map(connection.ops.quote_name, columns))
    places = ", ".join(["%s"] * len(columns))
    prepared = [
        field.get_db_prep_save(value, connection)  # type: ignore[union-attr]
        for field, value in zip(fields, values.values(), strict=True)
    ]
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({quoted}) VALUES ({places})", prepared)  # noqa: S608


def account(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of an account that would be accepted."""
    row = {
        "id": uuid.uuid4(),
        "domain": cast.com.pk,
        "server": cast.server.pk,
        "name": "suzuki",
        "password_hash": HASH,
        **Account().own_limits(),
        "is_fixed": False,
        "created_at": now(),
    }
    return row | values


def domain(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a domain that would be accepted."""
    row = {
        "name": "example.org",
        "customer": cast.sakura.pk,
        "plan": cast.plan.pk,
        "server": cast.server.pk,
        "fixed_account": cast.com.fixed_account_id,
        "home": "example.org",
        "certificate_until": None,
        "certificate_trouble": "",
        "created_at": now(),
    }
    return row | values


def forwarding(cast: Cast, local_part: str) -> dict[str, Any]:
    """Return the columns of a forwarding address."""
    return {"domain": cast.com.pk, "local_part": local_part, "created_at": now()}


def mailing_list(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a mailing list that would be accepted."""
    row = {
        "domain": cast.com.pk,
        "local_part": "club",
        "title": "会員の皆さま – “Club”",
        "owner_address": "owner@outside.example",
        "posters": "members",
        "leave_key": "ab" * 32,
        "created_at": now(),
    }
    return row | values


def change(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a change that would be accepted."""
    row = {
        "server": cast.server.pk,
        "key": "mailbox:suzuki",
        "domain": "example.com",
        "group": uuid.uuid4(),
        "before": None,
        "before_secret": "",
        "after": {},
        "after_secret": "",
        "made_by": None,
        "made_at": now(),
        "due_at": now(),
        "state": ChangeState.PENDING,
        "started_at": None,
        "ended_at": None,
        "attempts": 0,
        "retry_at": None,
        "cause": "",
        "trouble": "",
        "renews_password": False,
    }
    return row | values


def test_rows_of_the_right_form_are_accepted(cast: Cast) -> None:
    insert(Account, **account(cast))
    insert(Domain, **domain(cast))
    insert(ForwardingAddress, **forwarding(cast, "info"))
    insert(MailingList, **mailing_list(cast))
    insert(Change, **change(cast))
    connection.check_constraints()


# Names.


@pytest.mark.parametrize(
    "name",
    ["", "Suzuki", "suzuki\n", "su zuki", "a..b", ".a", "a.", "x" * 33, "ｓ", "a/b", "a:b", "a|b"],
)
def test_account_of_another_form_is_refused(cast: Cast, name: str) -> None:
    with refused("account_name_form"):
        insert(Account, **account(cast, name=name))


@pytest.mark.parametrize("limit", [name for name in OwnLimits.NAMES if name != "pop_before_smtp"])
def test_limit_of_its_own_is_none_or_at_least_one(cast: Cast, limit: str) -> None:
    with refused("account_limits_at_least_one"):
        insert(Account, **account(cast, **{limit: 0}))
    insert(Account, **account(cast, **{limit: 1}))
    with refused("deleted_limits_at_least_one"):
        DeletedAccount.objects.create(
            id=uuid.uuid4(), domain=cast.com, server=cast.server, name="suzuki", **{limit: 0}
        )


def test_name_is_taken_once_per_server_whoever_owns_it(cast: Cast) -> None:
    factories.make_account(cast.com, "info")
    with refused("account_name_once_per_server"):
        insert(Account, **account(cast, name="info", domain=cast.other.pk))


def test_the_same_name_may_exist_on_another_server(cast: Cast) -> None:
    factories.make_account(cast.com, "info")
    second = factories.make_server("mail2.plusmail.test")
    insert(Account, **account(cast, name="info", server=second.pk))


def test_name_is_taken_while_its_account_is_being_deleted(cast: Cast) -> None:
    leaving = factories.make_account(cast.com, "info")
    factories.settle()
    leaving.delete_later()
    with refused("account_name_once_per_server"):
        insert(Account, **account(cast, name="info", domain=cast.other.pk))


def test_only_a_fixed_account_may_have_a_whole_label_as_its_name(cast: Cast) -> None:
    with refused("account_name_form"):
        insert(Account, **account(cast, name="x" * 63))
    Account.objects.filter(pk=cast.com.fixed_account_id).update(is_fixed=False)
    insert(Account, **account(cast, name="x" * 63, is_fixed=True))
    with refused():
        insert(Account, **account(cast, name="x" * 64, is_fixed=True, domain=cast.net.pk))


@pytest.mark.parametrize(
    "name",
    ["", "com", "Example.org", "example.org\n", "-a.org", "a_b.org", "日本.jp", "x" * 250 + ".jp"],
)
def test_domain_of_another_form_is_refused(cast: Cast, name: str) -> None:
    with refused("domain_name_form"):
        insert(Domain, **domain(cast, name=name))


@pytest.mark.parametrize("home", ["", "../x.y", "/etc/x.y", "a b.org", "example.org\n"])
def test_home_that_leads_out_of_its_directory_is_refused(cast: Cast, home: str) -> None:
    with refused("domain_home_form"):
        insert(Domain, **domain(cast, home=home))


def test_home_belongs_to_one_domain_per_server(cast: Cast) -> None:
    with refused("home_once_per_server"):
        insert(Domain, **domain(cast, home="example.com"))


def test_domain_exists_once(cast: Cast) -> None:
    with refused("accounts_domain"):
        insert(Domain, **domain(cast, name="example.com"))


@pytest.mark.parametrize("name", ["", "Mail1", "mail1\n", "mail 1", "../mail1", "mail1."])
def test_mail_server_of_another_form_is_refused(cast: Cast, name: str) -> None:
    with refused("mail_server_name_form"):
        MailServer.objects.create(name=name)


@pytest.mark.parametrize(
    "local_part",
    ["Info", "info\n", "in fo", "a..b", ".a", "a.", "ｉ", "|cmd", ":include:", "a@b", "a/b"],
)
def test_local_part_of_another_form_is_refused(cast: Cast, local_part: str) -> None:
    with refused("local_part_form"):
        insert(ForwardingAddress, **forwarding(cast, local_part))


def test_address_is_forwarded_once_and_so_is_the_catch_all(cast: Cast) -> None:
    for local_part in ("info", ""):
        insert(ForwardingAddress, **forwarding(cast, local_part))
        with refused("address_once_per_domain"):
            insert(ForwardingAddress, **forwarding(cast, local_part))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "info",
        "@example.com",
        "info@",
        "info@Example.com",
        "info@example.com\n",
        "info@exam\nple.com",
        "in fo@example.com",
        "a@example.com,b@example.com",
        "|cmd@example.com",
        '"a b"@example.com',
        "/dev/null@example.com",
        "a@[127.0.0.1]",
        "ｉ@example.com",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
    ],
)
def test_destination_of_another_form_is_refused(cast: Cast, address: str) -> None:
    row = ForwardingAddress.objects.create(domain=cast.com, local_part="info")
    with refused("destination_form"):
        row.destinations.create(address=address, position=0)


def test_destination_is_named_once_in_any_case(cast: Cast) -> None:
    row = ForwardingAddress.objects.create(domain=cast.com, local_part="info")
    row.destinations.create(address="Taro@example.org", position=0)
    with refused("destination_once"):
        row.destinations.create(address="taro@example.org", position=1)


def test_forward_of_a_deleted_account_is_remembered_once(cast: Cast) -> None:
    past = {"mailbox_id": uuid.uuid4(), "domain": cast.com, "local_part": "info"}
    DetachedDestination.objects.create(**past)
    with refused("detached_once"):
        DetachedDestination.objects.create(**past)


@pytest.mark.parametrize(
    "limit",
    [
        "account_limit",
        "mailbox_bytes",
        "message_bytes",
        "recipients_per_message",
        "recipients_per_day",
        "list_message_bytes",
    ],
)
def test_plan_without_a_limit_is_refused(cast: Cast, limit: str) -> None:
    with refused("plan_limits_are_limits"):
        Plan.objects.filter(pk=cast.plan.pk).update(**{limit: 0})


def test_plan_code_of_another_form_is_refused(cast: Cast) -> None:
    with refused("plan_code_form"):
        Plan.objects.filter(pk=cast.plan.pk).update(code="a b")


# Fixed accounts.


def test_domain_has_one_fixed_account(cast: Cast) -> None:
    with refused("one_fixed_account_per_domain"):
        insert(Account, **account(cast, is_fixed=True))


@pytest.mark.parametrize("fixed", [None, uuid.uuid4()])
def test_domain_without_a_fixed_account_is_impossible(cast: Cast, fixed: uuid.UUID | None) -> None:
    with refused():
        insert(Domain, **domain(cast, fixed_account=fixed))


def test_fixed_account_cannot_be_deleted_by_sql(cast: Cast) -> None:
    with refused(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_account WHERE name = 'example'")


def test_fixed_account_cannot_be_deleted_by_the_orm(cast: Cast) -> None:
    with pytest.raises(ProtectedError):
        Account.objects.filter(name="example").delete()


def test_domain_with_accounts_cannot_be_deleted(cast: Cast) -> None:
    with pytest.raises(ProtectedError):
        cast.com.delete()


# The outbox.


@pytest.mark.parametrize("state", [ChangeState.PENDING, ChangeState.APPLYING])
def test_record_has_one_change_waiting_and_one_on_its_way(cast: Cast, state: str) -> None:
    insert(Change, **change(cast, state=state))
    with refused(f"one_{state}_change_per_record"):
        insert(Change, **change(cast, state=state))


@pytest.mark.parametrize(
    ("state", "ended_at"),
    [
        ("pending", now()),
        ("applying", now()),
        ("applied", None),
        ("cancelled", None),
        ("superseded", None),
    ],
)
def test_change_has_an_end_exactly_when_it_ended(cast: Cast, state: str, ended_at: Any) -> None:
    with refused("change_ended_at_iff_ended"):
        insert(Change, **change(cast, state=state, ended_at=ended_at))


@pytest.mark.parametrize("secret", ["before_secret", "after_secret"])
@pytest.mark.parametrize("state", ["applied", "cancelled", "superseded"])
def test_change_that_ended_keeps_no_secret(cast: Cast, state: str, secret: str) -> None:
    with refused("change_forgets_its_secrets"):
        insert(Change, **change(cast, state=state, ended_at=now(), **{secret: HASH}))


def test_change_of_an_unknown_state_is_refused(cast: Cast) -> None:
    with refused("change_ended_at_iff_ended"):
        insert(Change, **change(cast, state="whatever"))


def test_need_is_named_once(cast: Cast) -> None:
    insert(Change, **change(cast))
    need = {"change": Change.objects.get(key="mailbox:suzuki"), "server": cast.server, "key": "k:1"}
    Need.objects.create(**need)
    with refused("need_once"):
        Need.objects.create(**need)


# What mail servers report of sending.


def hour(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of an hour that would be accepted."""
    row = {
        "account": cast.com.fixed_account_id,
        "day": now().date(),
        "hour": 9,
        "address": "203.0.113.7",
        "way": "auth",
        "recipients": 1,
    }
    return row | values


def window(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of an open way that would be accepted."""
    row = {
        "account": cast.com.fixed_account_id,
        "network": "203.0.113.7",
        "address": "203.0.113.7",
        "way": "pop3",
        "login_at": now(),
        "until": now(),
    }
    return row | values


def test_hour_of_sending_is_there_once(cast: Cast) -> None:
    insert(SendingHour, **hour(cast))
    insert(SendingHour, **hour(cast, hour=23))
    insert(SendingHour, **hour(cast, way="login"))
    with refused("sending_hour_once"):
        insert(SendingHour, **hour(cast, recipients=2))


def test_hour_of_sending_is_one_of_a_day_s(cast: Cast) -> None:
    with refused("sending_hour_of_a_day"):
        insert(SendingHour, **hour(cast, hour=24))


def test_way_of_sending_is_a_known_one(cast: Cast) -> None:
    with refused("sending_hour_way"):
        insert(SendingHour, **hour(cast, way="ftp"))
    with refused("sending_window_way"):
        insert(SendingWindow, **window(cast, way="ftp"))


def test_open_way_is_there_once(cast: Cast) -> None:
    insert(SendingWindow, **window(cast))
    with refused("sending_window_once"):
        insert(SendingWindow, **window(cast, way="imap"))


def test_refusal_is_there_once(cast: Cast) -> None:
    row = {"account": cast.com.fixed_account_id, "at": now(), "day": DAY, "times": 1}
    row |= {"reason": "size", "sender": "info@example.com", "limit": 1, "reached": 2}
    row |= {"recipient": "x@example.org"}
    insert(Refusal, **row)
    insert(Refusal, **row | {"sender": ""})
    with refused("refusal_once"):
        insert(Refusal, **row | {"reached": 3})


# How full mailboxes are.


def usage(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a mailbox's usage that would be accepted."""
    row = {"account": cast.com.fixed_account_id, "used": 1, "messages": 1, "limit": 1}
    return row | {"asked_at": now()} | values


def warning(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a warning that would be accepted."""
    row = {"account": cast.com.fixed_account_id, "kind": "quota-80", "used": 8, "limit": 10}
    return row | {"given_at": now(), "wednesday": None} | values


def test_usage_is_a_share_of_something(cast: Cast) -> None:
    # usage_has_a_limit; PostgreSQL works out the share before it looks.
    with refused():
        insert(MailboxUsage, **usage(cast, limit=0))
    with refused("usage_can_be_counted"):
        insert(MailboxUsage, **usage(cast, used=9 * 10**16))
    insert(MailboxUsage, **usage(cast, used=9 * 10**16 - 1))


def test_warning_is_given_once_and_of_a_known_kind(cast: Cast) -> None:
    insert(UsageWarning, **warning(cast))
    insert(UsageWarning, **warning(cast, kind="wednesday-monday", wednesday=DAY))
    with refused("usage_warning_once"):
        insert(UsageWarning, **warning(cast, used=9))
    for kind, day in (("quota-90", None), ("quota-95", DAY), ("wednesday-tuesday", None)):
        with refused("usage_warning_kind"):
            insert(UsageWarning, **warning(cast, kind=kind, wednesday=day))


def test_mail_that_waits_is_some(cast: Cast) -> None:
    row = {"account": cast.com.fixed_account_id, "size": 1, "oldest_at": now(), "first": []}
    with refused("waiting_mail_is_some"):
        insert(WaitingMail, **row, count=0)
    insert(WaitingMail, **row, count=1)


@pytest.mark.parametrize("kind", ["", "Quota", "a b", "a\nb", "x" * 41])
def test_notice_of_another_kind_is_refused(cast: Cast, kind: str) -> None:
    row = {"account": cast.com.fixed_account_id, "values": {}, "written_at": now()}
    with refused("notice_kind_form" if len(kind) < 41 else ""):
        insert(Notice, **row, kind=kind)


# Archives.


def kept(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of an archive that would be accepted."""
    row = {
        "server": cast.server.pk,
        "number": 1,
        "domain": cast.com.pk,
        "mailbox_id": uuid.uuid4(),
        "account_name": "suzuki",
        "file_name": "suzuki.oldmail.20261202.gz",
        "taken_at": now(),
        "messages": 1,
        "mail_bytes": 1,
        "file_bytes": 1,
        "sha256": "0" * 64,
        "state": "kept",
    }
    return row | values


def archive_run(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a run of archiving that would be accepted."""
    row = {"server": cast.server.pk, "day": DAY, "weekly": True, "late": False}
    return row | {"asked_at": now(), "found": 0, "trouble": ""} | values


def job(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of a customer's job with archives that would be accepted."""
    row = {
        "server": cast.server.pk,
        "domain": cast.com.pk,
        "kind": "take",
        "mailbox_id": None,
        "account_name": "suzuki",
        "archive": None,
        "oldest": False,
        "state": "waiting",
        "again": False,
        "asked_at": now(),
        "ended_at": None,
        "file_name": "",
        "code": "",
        "trouble": "",
    }
    row |= dict.fromkeys(("moved", "moved_bytes", "already", "no_room", "unreached"), 0)
    return row | values


def test_archive_is_there_once_in_a_known_state(cast: Cast) -> None:
    insert(Archive, **kept(cast))
    with refused("archive_once_per_server"):
        insert(Archive, **kept(cast))
    with refused("archive_state"):
        insert(Archive, **kept(cast, number=2, state="lost"))


def test_week_has_one_run_of_a_server(cast: Cast) -> None:
    insert(ArchiveRun, **archive_run(cast))
    for _ in range(2):
        insert(ArchiveRun, **archive_run(cast, weekly=False))
    with refused("one_archive_run_a_week"):
        insert(ArchiveRun, **archive_run(cast))


def test_run_has_one_result_for_a_mailbox(cast: Cast) -> None:
    insert(ArchiveRun, **archive_run(cast))
    row = {"run": ArchiveRun.objects.get().pk, "mailbox_id": uuid.uuid4(), "domain": cast.com.pk}
    row |= {"address": "suzuki@example.com", "file_name": "", "code": "", "trouble": ""}
    row |= {"messages": 0, "mail_bytes": 0, "attempts": 0}
    insert(ArchiveRunResult, **row)
    with refused("archive_run_result_once"):
        insert(ArchiveRunResult, **row | {"attempts": 1})


def test_mailbox_and_archive_have_one_open_job(cast: Cast) -> None:
    insert(Archive, **kept(cast))
    one, mailbox = Archive.objects.get().pk, uuid.uuid4()
    insert(ArchiveJob, **job(cast, mailbox_id=mailbox))
    insert(ArchiveJob, **job(cast, mailbox_id=mailbox, state="done", ended_at=now()))
    with refused("one_open_job_per_mailbox"):
        insert(ArchiveJob, **job(cast, mailbox_id=mailbox, state="running"))
    insert(ArchiveJob, **job(cast, kind="delete", archive=one))
    with refused("one_open_job_per_archive"):
        insert(ArchiveJob, **job(cast, kind="delete", archive=one))


def test_job_names_what_it_is_about(cast: Cast) -> None:
    insert(Archive, **kept(cast))
    one = Archive.objects.get().pk
    for kind, mailbox, archive in (
        ("take", None, None),
        ("take", uuid.uuid4(), one),
        ("put_back", uuid.uuid4(), None),
        ("delete", uuid.uuid4(), None),
        ("other", uuid.uuid4(), one),
    ):
        with refused("archive_job_names_what_it_needs"):
            insert(ArchiveJob, **job(cast, kind=kind, mailbox_id=mailbox, archive=archive))


def test_job_has_an_end_once_it_has_ended(cast: Cast) -> None:
    with refused("archive_job_ended_iff_it_has_an_end"):
        insert(ArchiveJob, **job(cast, mailbox_id=uuid.uuid4(), state="failed"))
    with refused("archive_job_ended_iff_it_has_an_end"):
        insert(ArchiveJob, **job(cast, mailbox_id=uuid.uuid4(), ended_at=now()))


# Who looked at mail.


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("mail_access_action", {"action": "stolen"}),
        ("mail_access_deleted_as_asked", {"messages": 3, "asked": 2}),
        ("mail_access_by_somebody", {"user_name": ""}),
        ("mail_access_by_somebody", {"account_name": ""}),
        ("", {"messages": -1}),
    ],
)
def test_access_to_mail_says_who_did_what(
    cast: Cast, constraint: str, values: dict[str, Any]
) -> None:
    row: dict[str, Any] = {"domain": cast.com.pk, "user": cast.sakura.user.pk}
    row |= {"user_name": "sakura"}
    row |= {"account_name": "tanaka@example.com", "account_id": uuid.uuid4(), "at": now()}
    row |= {"folder": "INBOX", "action": "delete", "messages": 1, "asked": 2}
    insert(MailAccess, **row)
    insert(MailAccess, **row | {"messages": None})
    with refused(constraint):
        insert(MailAccess, **row | values)


# Users of mailboxes.


def test_who_sees_nothing_is_not_allowed_to_delete(cast: Cast) -> None:
    blind = dict.fromkeys(("mail", "archives"), False)
    with refused("domain_rights_delete_what_is_seen"):
        DomainRights.objects.create(domain=cast.com, **blind)
    account = cast.com.fixed_account
    with refused("account_rights_delete_what_is_seen"):
        AccountRights.objects.create(account=account, **blind)
    DomainRights.objects.create(domain=cast.com, remove=False, **blind)
    AccountRights.objects.create(account=account, mail=False)


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("auto_reply_says_something", {"text": ""}),
        ("auto_reply_says_something", {"subject": ""}),
        ("auto_reply_days", {"days": 0}),
        ("auto_reply_days", {"days": 31}),
        ("auto_reply_ends_after_it_starts", {"ends": date(2026, 12, 27)}),
    ],
)
def test_auto_reply_of_another_form_is_refused(
    cast: Cast, constraint: str, values: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"account": cast.com.fixed_account, "subject": "a", "text": "b"}
    fields |= {"starts": date(2026, 12, 28), "ends": date(2026, 12, 28)}
    with refused(constraint):
        AutoReply.objects.create(**fields | values)


# Mailing lists.


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("list_name_form", {"local_part": "Club"}),
        ("list_name_form", {"local_part": ""}),
        ("list_name_form", {"local_part": "a\nb"}),
        ("", {"local_part": "x" * 57}),
        ("list_title_is_one_line", {"title": ""}),
        ("list_title_is_one_line", {"title": "Club\r\nBcc: x@example.org"}),
        ("list_title_is_one_line", {"title": "Club\x7f"}),
        ("list_owner_form", {"owner_address": "owner"}),
        ("list_owner_form", {"owner_address": "a@example.org, b@example.org"}),
        ("list_posters_known", {"posters": "all"}),
        ("list_leave_key_form", {"leave_key": ""}),
        ("list_leave_key_form", {"leave_key": "x" * 64}),
    ],
)
def test_list_of_another_form_is_refused(
    cast: Cast, constraint: str, values: dict[str, Any]
) -> None:
    with refused(constraint):
        insert(MailingList, **mailing_list(cast, **values))


def test_list_is_there_once(cast: Cast) -> None:
    insert(MailingList, **mailing_list(cast))
    with refused("list_once_per_domain"):
        insert(MailingList, **mailing_list(cast))


def test_member_is_there_once_and_an_address(cast: Cast) -> None:
    insert(MailingList, **mailing_list(cast))
    row = {"mailing_list": MailingList.objects.get().pk, "joined_at": now(), "came_back": 0}
    insert(Member, **row, address="Ann@example.org")
    with refused("member_once"):
        insert(Member, **row, address="ann@example.org")
    with refused("member_form"):
        insert(Member, **row, address="ann@example.org\n")


# CSV files, what became of messages, and the history.


def test_import_of_another_form_is_refused(cast: Cast) -> None:
    row = {"domain": cast.com, "kind": "accounts", "file_name": "a.csv"}
    job = Import.objects.create(**row)
    with refused("import_times_fit_its_state"):
        Import.objects.create(**row, ended_at=now())
    with refused("import_times_fit_its_state"):
        Import.objects.create(**row, state="running")
    with refused("import_kind_known"):
        Import.objects.create(**row | {"kind": "lists"})
    ImportRow.objects.create(job=job, number=1, outcome="add", cells={})
    with refused("import_row_once"):
        ImportRow.objects.create(job=job, number=1, outcome="add", cells={})
    with refused("import_row_outcome"):
        ImportRow.objects.create(job=job, number=2, outcome="lost", cells={})


def test_event_of_another_kind_is_refused(cast: Cast) -> None:
    row = {"domain": cast.com, "address": "a@example.com", "at": now()}
    MailEvent.objects.create(**row, side="to", kind="delivered")
    with refused("mail_event_side"):
        MailEvent.objects.create(**row, side="by", kind="delivered")
    with refused("mail_event_kind"):
        MailEvent.objects.create(**row, side="to", kind="lost")


def test_entry_of_the_history_about_nothing_is_refused(cast: Cast) -> None:
    row = {"area": "mailbox", "what": "add", "subject": "a@example.com"}
    Entry.objects.create(**row, domain="example.com", hand="operator")
    with refused("history_hand"):
        Entry.objects.create(**row, domain="example.com", hand="thief")
    with refused("history_about_something"):
        Entry.objects.create(**row, hand="operator")


def order(cast: Cast, **values: Any) -> dict[str, Any]:
    """Return the columns of an order that would be accepted."""
    row = {
        "domain": cast.com.pk,
        "kind": "account",
        "amount": 1,
        "quantity": 1,
        "setup_yen": 300,
        "account_id": None,
        "account_name": "",
        "state": "asked",
        "reason": "",
        "limit_before": None,
        "limit_after": None,
        "asked_at": now(),
        "ended_at": None,
    }
    return row | values


GRANTED = {"state": "granted", "ended_at": now(), "limit_before": 10, "limit_after": 11}
REFUSED = {"state": "refused", "ended_at": now(), "reason": "Not now."}
OF_TANAKA = {"account_id": uuid.UUID(int=1), "account_name": "tanaka"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        GRANTED,
        REFUSED,
        {"state": "taken_back", "ended_at": now()},
        {"kind": "mailbox", **OF_TANAKA},
        {"kind": "message", **OF_TANAKA},
    ],
)
def test_order_of_each_state_is_accepted(cast: Cast, values: dict[str, Any]) -> None:
    insert(Order, **order(cast, **values))
    connection.check_constraints()


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("order_state_known", {"state": "given", "ended_at": now()}),
        ("order_of_an_account_names_it", {"kind": "mailbox"}),
        ("order_of_an_account_names_it", {"kind": "message", **OF_TANAKA, "quantity": 2}),
        ("order_of_an_account_names_it", {"kind": "account", **OF_TANAKA}),
        ("order_of_an_account_names_it", {"kind": "disk"}),
        ("order_is_of_something", {"amount": 0}),
        ("order_is_of_something", {"quantity": 0}),
        ("order_is_of_something", {"quantity": 100}),
        ("order_ended_iff_not_asked", {"ended_at": now()}),
        ("order_ended_iff_not_asked", {"state": "taken_back"}),
        ("order_ended_iff_not_asked", GRANTED | {"ended_at": None}),
        ("order_refused_with_a_reason", REFUSED | {"reason": ""}),
        ("order_refused_with_a_reason", {"reason": "Why?"}),
        ("order_granted_raises_a_limit", GRANTED | {"limit_before": None}),
        ("order_granted_raises_a_limit", GRANTED | {"limit_after": None}),
        ("order_granted_raises_a_limit", GRANTED | {"limit_after": 10}),
        ("order_granted_raises_a_limit", {"limit_before": 10, "limit_after": 11}),
    ],
)
def test_order_that_cannot_be_is_refused(
    cast: Cast, constraint: str, values: dict[str, Any]
) -> None:
    with refused(constraint):
        insert(Order, **order(cast, **values))


def test_open_order_is_there_once(cast: Cast) -> None:
    for values in (GRANTED, GRANTED, {}):
        insert(Order, **order(cast, **values))
    with refused("one_open_order_of_accounts"):
        insert(Order, **order(cast))
    insert(Order, **order(cast, kind="mailbox", **OF_TANAKA))
    insert(Order, **order(cast, kind="message", **OF_TANAKA))
    with refused("one_open_order_of_a_kind_per_account"):
        insert(Order, **order(cast, kind="mailbox", **OF_TANAKA))


def test_option_is_there_once_and_of_something(cast: Cast) -> None:
    row = {"kind": "account", "amount": 1, "setup_yen": 300, "is_offered": True}
    insert(Option, **row)
    with refused("option_once"):
        insert(Option, **row)
    with refused("option_amount_at_least_one"):
        insert(Option, **row | {"amount": 0})
    with refused("option_kind_known"):
        insert(Option, **row | {"kind": "disk"})


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("inquiry_subject_is_one_line", {"subject": ""}),
        ("inquiry_subject_is_one_line", {"subject": "a\r\nBcc: x@example.org"}),
        ("", {"subject": "x" * 101}),
        ("inquiry_sender_is_one_address", {"sender": "example"}),
        ("inquiry_sender_is_one_address", {"sender": "a@example.com, b@example.com"}),
        ("inquiry_sender_is_one_address", {"sender": "a@example.com\n"}),
    ],
)
def test_message_to_us_that_would_be_no_mail_is_refused(
    cast: Cast, constraint: str, values: dict[str, Any]
) -> None:
    row = {
        "domain": cast.com.pk,
        "sender": "example@example.com",
        "from_fixed": True,
        "subject": "追加について",
        "text": "a\nb",
        "written_at": now(),
    }
    insert(Inquiry, **row)
    with refused(constraint):
        insert(Inquiry, **row | values)


# The table itself.

NAMED_ABOVE = {
    "history_about_something",
    "history_hand",
    "import_kind_known",
    "import_row_once",
    "import_row_outcome",
    "import_times_fit_its_state",
    "mail_event_kind",
    "mail_event_side",
    "account_rights_delete_what_is_seen",
    "auto_reply_days",
    "auto_reply_ends_after_it_starts",
    "auto_reply_says_something",
    "domain_rights_delete_what_is_seen",
    "account_limits_at_least_one",
    "account_name_form",
    "account_name_once_per_server",
    "address_once_per_domain",
    "archive_job_ended_iff_it_has_an_end",
    "archive_job_names_what_it_needs",
    "archive_once_per_server",
    "archive_run_result_once",
    "archive_state",
    "change_ended_at_iff_ended",
    "change_forgets_its_secrets",
    "deleted_limits_at_least_one",
    "destination_form",
    "destination_once",
    "detached_once",
    "domain_home_form",
    "domain_name_form",
    "home_once_per_server",
    "inquiry_sender_is_one_address",
    "inquiry_subject_is_one_line",
    "list_leave_key_form",
    "list_name_form",
    "list_once_per_domain",
    "list_owner_form",
    "list_posters_known",
    "list_title_is_one_line",
    "local_part_form",
    "mail_access_action",
    "mail_access_by_somebody",
    "mail_access_deleted_as_asked",
    "mail_server_name_form",
    "member_form",
    "member_once",
    "need_once",
    "notice_kind_form",
    "one_applying_change_per_record",
    "one_archive_run_a_week",
    "one_fixed_account_per_domain",
    "one_open_job_per_archive",
    "one_open_job_per_mailbox",
    "one_open_order_of_a_kind_per_account",
    "one_open_order_of_accounts",
    "one_pending_change_per_record",
    "option_amount_at_least_one",
    "option_kind_known",
    "option_once",
    "order_ended_iff_not_asked",
    "order_granted_raises_a_limit",
    "order_is_of_something",
    "order_of_an_account_names_it",
    "order_refused_with_a_reason",
    "order_state_known",
    "plan_code_form",
    "plan_limits_are_limits",
    "refusal_once",
    "sending_hour_of_a_day",
    "sending_hour_once",
    "sending_hour_way",
    "sending_window_once",
    "sending_window_way",
    "usage_can_be_counted",
    "usage_has_a_limit",
    "usage_warning_kind",
    "usage_warning_once",
    "waiting_mail_is_some",
}


def test_every_constraint_of_the_project_is_tested_here() -> None:
    ours = [*OURS, "panel"]
    found: Callable[[str], list[str]] = lambda label: [  # noqa: E731
        constraint.name
        for model in apps.get_app_config(label).get_models()
        for constraint in model._meta.constraints
    ]
    assert {name for label in ours for name in found(label)} == NAMED_ABOVE
