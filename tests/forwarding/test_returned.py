"""Whose copies of a list came back: taken over from the mail server, and shown to the owner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from pytest_django import Settings

from accounts.models import Domain
from forwarding import list_pages, tasks
from forwarding.models import MailingList, Member
from forwarding.returned import collect
from mailhost.config import HostConfig
from mailhost.lists.queue import Queue
from mailhost.paths import Paths
from mailhost.store import Store
from propagation.models import Change, MailServer
from tests import factories

ANN, BOB = "Ann@outside.example", "bob@outside.example"


@pytest.fixture
def club(com: Domain) -> MailingList:
    """A live list of two members."""
    row = factories.make_list(com, "club", ANN, BOB)
    factories.settle()
    return row


@pytest.fixture
def queue(tmp_path: Path, settings: Settings, server: MailServer) -> Iterator[Queue]:
    """The database of the lists' daemon of the server, which is on this machine."""
    settings.MAILHOST_ROOT = str(tmp_path)
    paths = Paths(tmp_path / server.name)
    for place in (paths.lists, paths.store.parent):
        place.mkdir(parents=True, exist_ok=True)
    HostConfig(hostname=server.name).save(paths.root)
    Store(paths.store).close()
    made = Queue(paths.lists / "lists.sqlite3")
    yield made
    made.close()


def page(row: MailingList) -> str:
    return f"/domains/example.com/forwarding/lists/{row.pk}/"


def test_what_came_back_is_shown_with_the_way_to_remove(
    queue: Queue, server: MailServer, club: MailingList, sakura: Client
) -> None:
    assert "came-back" not in sakura.get(page(club)).text
    queue.came_back(club.address, ANN)
    queue.came_back(club.address, ANN)
    queue.came_back(club.address, "stranger@outside.example")
    queue.came_back("other@example.com", BOB)
    assert collect(server) == 1
    ann = club.members.get(address=ANN)
    assert (ann.came_back, club.members.get(address=BOB).came_back) == (2, 0)
    text = sakura.get(page(club)).text
    part = text[text.index('id="came-back"') : text.index('id="members-list"')]
    assert ANN in part
    assert BOB not in part
    assert "came back 2 times" in part
    # By itself nobody is removed; one press does it.
    assert len(club.addresses()) == 2
    assert f'name="one" value="{ann.pk}"' in part
    sakura.post(page(club), {"one": str(ann.pk)})
    assert club.addresses() == [BOB]
    assert "came-back" not in sakura.get(page(club)).text


def test_it_is_taken_over_once_and_again_when_more_comes_back(
    queue: Queue, server: MailServer, club: MailingList
) -> None:
    queue.came_back(club.address, BOB)
    tasks.collect_server_returned(server.pk)
    call_command("collect_returned")
    assert collect(server) == 0
    queue.came_back(club.address, BOB)
    assert collect(server) == 1
    assert club.members.get(address=BOB).came_back == 2
    assert not Change.objects.open().exists()


def test_who_joined_later_or_has_left_is_not_named(
    queue: Queue, server: MailServer, club: MailingList
) -> None:
    queue.came_back(club.address, ANN)
    queue.came_back(club.address, BOB)
    Member.objects.filter(address=BOB).update(joined_at=now() + timedelta(hours=1))
    club.leave(ANN)
    assert collect(server) == 0


def test_what_came_back_long_ago_is_not_shown(
    queue: Queue, server: MailServer, club: MailingList, sakura: Client
) -> None:
    queue.came_back(club.address, BOB)
    collect(server)
    Member.objects.update(came_back_at=now() - timedelta(days=91))
    assert "came-back" not in sakura.get(page(club)).text


@pytest.mark.long
def test_many_cost_few_queries_and_the_page_names_some(
    queue: Queue, server: MailServer, com: Domain, sakura: Client
) -> None:
    members = [f"m{n}@outside.example" for n in range(1000)]
    row = factories.make_list(com, "large", *members)
    for member in members:
        queue.came_back(row.address, member)
    with CaptureQueriesContext(connection) as queries:
        assert collect(server) == 1000
    assert len(queries) < 30
    found = list_pages.one(row, [])
    assert len(found["returned"]) == list_pages.MOST_RETURNED
    assert found["more_returned"] == 1000 - list_pages.MOST_RETURNED
    assert "and 980 more" in sakura.get(page(row)).text


def test_other_servers_lists_are_not_meant(
    queue: Queue, server: MailServer, club: MailingList
) -> None:
    other = factories.make_server("mail2.plusmail.test")
    Domain.objects.update(server=other)
    queue.came_back(club.address, BOB)
    assert collect(server) == 0
    with pytest.raises(CommandError, match=r"mail2\.plusmail\.test"):
        call_command("collect_returned", "mail2.plusmail.test")
