"""The panel takes over what became of mail: each event once, each customer his own."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from accounts.models import Domain
from mailhost.events import reading
from mailhost.paths import Paths
from tests import factories
from tests.conftest import Cast
from tests.tracing.reports import event, tell
from tracing import collect as collecting
from tracing import tasks
from tracing.collect import collect
from tracing.models import KEPT, EventReport, MailEvent

pytestmark = pytest.mark.django_db


def sides() -> list[tuple[str, str, str, str]]:
    """Return what is kept: whose, as what, with whom, and where it went."""
    rows = MailEvent.objects.order_by("pk")
    return list(rows.values_list("address", "side", "other", "onward"))


def test_event_is_kept_once_for_each_address_of_a_customer(cast: Cast, root: Path) -> None:
    tell(root, [event(sender="info@wakaba.example"), event("refused", "x@outside.test")])
    assert collect(cast.server) == 2
    assert sides() == [
        ("tanaka@example.com", "to", "info@wakaba.example", ""),
        ("info@wakaba.example", "from", "tanaka@example.com", ""),
    ]
    [com, wakaba] = MailEvent.objects.order_by("pk")
    assert (com.domain, wakaba.domain) == (cast.com, cast.other)
    assert collect(cast.server) == 0
    assert MailEvent.objects.count() == 2
    assert not EventReport.objects.get().late


def test_sender_does_not_learn_where_another_s_forward_leads(cast: Cast, root: Path) -> None:
    told = event(
        "bounced",
        "secret@outside.test",
        original="info@wakaba.example",
        sender="tanaka@example.com",
        relay="mx.outside.test",
        reason="<secret@outside.test> is gone",
    )
    tell(root, [told])
    collect(cast.server)
    theirs = MailEvent.objects.get(domain=cast.other)
    assert (theirs.onward, theirs.reason) == (told.recipient, told.reason)
    mine = MailEvent.objects.get(domain=cast.com)
    assert (mine.other, mine.onward, mine.relay, mine.reason) == ("info@wakaba.example", "", "", "")
    assert mine.kind == "bounced"


def test_sender_does_not_learn_to_how_many_another_forwards(cast: Cast, root: Path) -> None:
    one = event(original="sales@wakaba.example", sender="tanaka@example.com")
    tell(root, [one, one._replace(recipient="suzuki@wakaba.example")])
    collect(cast.server)
    assert MailEvent.objects.filter(domain=cast.com, side="from").count() == 1
    assert MailEvent.objects.filter(domain=cast.other, address="sales@wakaba.example").count() == 2


def test_receiver_does_not_learn_which_address_of_another_led_to_him(
    cast: Cast, root: Path
) -> None:
    tell(root, [event(original="secret@wakaba.example")])
    collect(cast.server)
    mine = MailEvent.objects.get(domain=cast.com)
    assert (mine.other, mine.onward) == ("friend@outside.test", "")


def test_what_was_before_the_domain_is_nobody_s(cast: Cast, root: Path) -> None:
    """The domain may have been another customer's then."""
    before = int(cast.com.created_at.timestamp()) - 10
    tell(root, [event(at=before), event(at=before + 20)])
    collect(cast.server)
    assert MailEvent.objects.get().at > cast.com.created_at


def test_domain_of_another_server_is_left_alone(cast: Cast, root: Path) -> None:
    Domain.objects.filter(pk=cast.com.pk).update(server=factories.make_server("mail9.example"))
    tell(root, [event()])
    collect(cast.server)
    assert not MailEvent.objects.exists()


def test_many_come_in_portions(cast: Cast, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 10)
    tell(root, [event(code=f"2.0.{number}") for number in range(25)])
    assert collect(cast.server) == 25
    codes = list(MailEvent.objects.order_by("pk").values_list("code", flat=True))
    assert codes == [f"2.0.{number}" for number in range(25)]


def test_second_of_two_runs_writes_nothing(
    cast: Cast, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the news, and finds the cursor moved."""
    tell(root, [event()])
    read = reading.read

    def read_and_be_overtaken(*arguments: object) -> reading.News:
        news = read(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(reading, "read", read)
        collect(cast.server)
        return news

    monkeypatch.setattr(reading, "read", read_and_be_overtaken)
    assert collect(cast.server) == 0
    assert MailEvent.objects.count() == 1


def test_report_deleted_brings_everything_again_once(cast: Cast, root: Path) -> None:
    tell(root, [event(), event("refused")])
    collect(cast.server)
    EventReport.objects.all().delete()
    assert collect(cast.server) == 2
    assert MailEvent.objects.count() == 2


def test_lost_file_of_the_server_s_loses_nothing_here(cast: Cast, root: Path) -> None:
    tell(root, [event()])
    collect(cast.server)
    for file in Paths(root).events.iterdir():
        file.unlink()
    tell(root, [event("refused")])
    assert collect(cast.server) == 1
    assert MailEvent.objects.count() == 2


def test_old_ones_are_forgotten_in_portions(
    cast: Cast, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "PORTION", 3)
    tell(root, [event() for _number in range(10)])
    collect(cast.server)
    old = MailEvent.objects.order_by("pk")[:8].values_list("pk", flat=True)
    MailEvent.objects.filter(pk__in=list(old)).update(at=now() - KEPT - timedelta(minutes=1))
    assert collecting.forget_old() == 8
    assert MailEvent.objects.count() == 2


def test_old_ones_are_forgotten_behind_newer_numbers(cast: Cast, root: Path) -> None:
    """As after a server's events were all taken over anew."""
    tell(root, [event(), event("refused")])
    collect(cast.server)
    newer, older = MailEvent.objects.order_by("pk")
    MailEvent.objects.filter(pk=older.pk).update(at=now() - KEPT - timedelta(minutes=1))
    assert collecting.forget_old() == 1
    assert MailEvent.objects.get() == newer


def test_panel_knows_no_more_than_the_daemon(cast: Cast, root: Path) -> None:
    """However often it looks."""
    collect(cast.server)
    assert EventReport.objects.get().late
    tell(root, [event()], alive=600)
    for _look in range(2):
        collect(cast.server)
        report = EventReport.objects.get()
        assert report.known_until
        assert timedelta(seconds=590) < now() - report.known_until < timedelta(seconds=700)
        assert report.late
    tell(root, [])
    collect(cast.server)
    assert not EventReport.objects.get().late


def test_what_is_still_to_be_taken_over_is_not_known(
    cast: Cast, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 2)
    tell(root, [event() for _number in range(4)])
    known: list[object] = []
    create = MailEvent.objects.bulk_create

    def watched(*arguments: Any, **options: Any) -> object:
        known.append(EventReport.objects.get().known_until)
        return create(*arguments, **options)

    monkeypatch.setattr(MailEvent.objects, "bulk_create", watched)
    collect(cast.server)
    assert [moment is None for moment in known] == [True, False]


def test_cron_and_celery_do_the_same(
    cast: Cast, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(root, [event()])
    call_command("collect_events")
    assert capsys.readouterr().out == f"{cast.server}: 1 events\n"
    tell(root, [event(at=int(time.time()))])
    tasks.collect_server_events(cast.server.pk)
    assert MailEvent.objects.count() == 2


def test_unreadable_file_is_said(cast: Cast, root: Path) -> None:
    paths = Paths(root)
    paths.events.mkdir()
    paths.events_db.write_text("no database")
    with pytest.raises(CommandError, match="not a database"):
        call_command("collect_events")
