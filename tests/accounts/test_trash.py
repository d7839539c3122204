"""The trash is emptied by what lies on the server, never by what the panel remembers of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from accounts import passwords
from accounts.models import Account, DeletedAccount
from accounts.trash import purge_expired
from mailhost.host import Host
from mailhost.instance import missing_programs
from mailhost.records import Entry, Mailbox
from tests import factories
from tests.conftest import Cast
from tests.idle import idle_server


@dataclass(frozen=True, slots=True)
class Bin:
    """The cast's server with its trash."""

    cast: Cast
    root: Path

    def throw(self, name: str, *, days: int) -> UUID:
        """Delete a mailbox on the server, so many days ago; the panel hears nothing of it."""
        box = Mailbox(name, "example.com", uuid4().hex, passwords.make_hash(factories.PASSWORD))
        then = datetime.now(UTC) - timedelta(days=days)
        with Host(self.root, now=lambda: then) as host, host.lock():
            number = host.highest_change()
            host.apply([Entry(box.key, number + 1, box)])
            mail = host.paths.home(box.mailbox_id) / "Maildir/new"
            mail.mkdir(parents=True)
            (mail / "letter").write_text("private")
            host.apply([Entry(box.key, number + 2, None)])
        return UUID(hex=box.mailbox_id)

    def remember(self, mailbox_id: UUID, name: str, *, days: int) -> DeletedAccount:
        """Make the panel's row of a deleted account."""
        return DeletedAccount.objects.create(
            id=mailbox_id,
            domain=self.cast.com,
            server=self.cast.server,
            name=name,
            password_hash=passwords.make_hash(factories.PASSWORD),
            deleted_at=datetime.now(UTC) - timedelta(days=days),
        )

    def lies(self, mailbox_id: UUID) -> bool:
        """Whether the server still has that mail, with its row."""
        with Host(self.root) as host:
            listed = mailbox_id.hex in {lost.mailbox_id for lost in host.trash()}
            there = (host.paths.trashed(mailbox_id.hex) / "Maildir/new/letter").exists()
        assert listed == there
        return listed


@pytest.fixture
def trash(cast: Cast, settings: Settings) -> Iterator[Bin]:
    if problem := missing_programs():
        pytest.skip(problem)
    with idle_server(factories.SERVER) as root:
        settings.MAILHOST_ROOT = str(root.parent)
        yield Bin(cast, root)


def test_what_lies_there_too_long_goes_even_if_the_panel_knows_nothing_of_it(trash: Bin) -> None:
    old, recent = trash.throw("old", days=15), trash.throw("recent", days=13)
    assert purge_expired(trash.cast.server) == 1
    assert not trash.lies(old)
    assert trash.lies(recent)
    assert purge_expired(trash.cast.server) == 0


def test_panels_row_goes_with_the_mail_and_the_others_stay(trash: Bin) -> None:
    old, recent = trash.throw("old", days=15), trash.throw("recent", days=13)
    trash.remember(old, "old", days=15)
    kept = trash.remember(recent, "recent", days=13)
    purge_expired(trash.cast.server)
    assert DeletedAccount.objects.in_trash().get() == kept
    assert DeletedAccount.objects.count() == 1


def test_servers_date_decides_and_not_the_panels(trash: Bin) -> None:
    old = trash.throw("old", days=15)
    trash.remember(old, "old", days=13)
    assert purge_expired(trash.cast.server) == 1
    assert not trash.lies(old)
    assert not DeletedAccount.objects.exists()


def test_row_whose_mail_the_server_no_longer_has_is_forgotten(trash: Bin) -> None:
    trash.remember(uuid4(), "lost", days=15)
    assert purge_expired(trash.cast.server) == 0
    assert not DeletedAccount.objects.exists()


def test_what_is_on_its_way_back_is_spared(trash: Bin) -> None:
    back = trash.throw("back", days=15)
    gone = trash.remember(back, "back", days=15)
    gone.restore()
    assert purge_expired(trash.cast.server) == 0
    assert trash.lies(back)
    assert Account.objects.filter(pk=back).exists()
    gone.refresh_from_db()
    assert gone.removed_at is None


def test_busy_server_is_left_for_later(trash: Bin) -> None:
    old = trash.throw("old", days=15)
    trash.remember(old, "old", days=15)
    with Host(trash.root) as host, host.lock():
        assert purge_expired(trash.cast.server) == 0
    assert trash.lies(old)
    assert DeletedAccount.objects.in_trash().exists()
