"""Deleted mailboxes: out of service at once, kept for a while, never shown to another."""

from __future__ import annotations

import poplib
import uuid

import pytest

from mailhost.records import Entry
from tests.mail.conftest import Site, applied
from tests.servers import wait_for

pytestmark = pytest.mark.servers


def test_deleted_mailbox_is_refused_everywhere_and_lies_in_the_trash(site: Site) -> None:
    box = site.mailbox("old")
    site.put(box)
    site.server.deliver(box.address, text="keep me")
    assert site.server.got(box.name, "keep me")
    session = site.server.pop3(box.name)
    assert applied(site.delete(box))
    code, text = site.server.rcpt(box.address)
    assert (code, text.split()[0]) == (550, "5.1.1")
    assert not site.server.can_log_in(box.name)
    with pytest.raises((poplib.error_proto, OSError)):
        session.noop()
    session.close()
    trashed = {item.mailbox_id: item for item in site.server.host.trash()}
    assert trashed[box.mailbox_id].address == box.address
    assert list(site.server.host.paths.trashed(box.mailbox_id).glob("Maildir/cur/*"))
    assert not site.server.host.paths.home(box.mailbox_id).exists()


def test_name_taken_again_shows_no_old_mail(site: Site) -> None:
    old, new = site.mailbox("again"), site.mailbox("again", "another-password")
    site.put(old)
    site.server.deliver(old.address, text="private")
    assert site.server.got(old.name, "private")
    assert applied(site.delete(old))
    assert applied(site.put(new))
    assert site.server.messages(new.name, "another-password") == []
    site.server.deliver(new.address, text="for the new one")
    assert site.server.got(new.name, "for the new one", "another-password")
    assert not site.server.can_log_in(new.name)


def test_name_that_changes_hands_in_one_change_shows_no_old_mail(site: Site) -> None:
    old, new = site.mailbox("hand"), site.mailbox("hand", "another-password")
    site.put(old)
    site.server.deliver(old.address, text="private")
    assert site.server.got(old.name, "private")
    assert applied(site.put(new))
    assert site.server.messages(new.name, "another-password") == []
    assert old.mailbox_id in {item.mailbox_id for item in site.server.host.trash()}


@pytest.mark.parametrize("word", ["back", "elsewhere"])
def test_restored_mailbox_has_its_mail_again_under_either_name(site: Site, word: str) -> None:
    box = site.mailbox("back")
    site.put(box)
    site.server.deliver(box.address, text="come back")
    assert site.server.got(box.name, "come back")
    site.delete(box)
    restored = site.mailbox(word, mailbox_id=box.mailbox_id)
    assert applied(site.put(restored))
    assert site.server.got(restored.name, "come back")
    assert box.mailbox_id not in {item.mailbox_id for item in site.server.host.trash()}
    site.server.deliver(restored.address, text="and more")
    assert site.server.got(restored.name, "and more")


def test_mail_that_came_while_closing_does_not_hinder_a_restore(site: Site) -> None:
    box = site.mailbox("late")
    site.put(box)
    site.server.deliver(box.address, text="early mail")
    assert site.server.got(box.name, "early mail")
    site.delete(box)
    home = site.server.host.paths.home(box.mailbox_id)
    (home / "Maildir/new").mkdir(parents=True)
    (home / "Maildir/new/late").write_text("late")
    assert applied(site.put(box))
    assert site.server.got(box.name, "early mail")
    strays = [item for item in site.server.host.trash() if not item.name]
    assert any(
        (site.server.host.paths.trashed(item.mailbox_id) / "Maildir/new/late").exists()
        for item in strays
    )


def test_purge_removes_the_mail_and_frees_the_address(site: Site) -> None:
    box, rest = site.mailbox("purged"), site.mailbox("rest")
    site.put(box, rest, site.address("", rest.address))
    site.server.deliver(box.address, text="to be lost")
    assert site.server.got(box.name, "to be lost")
    site.delete(box)
    assert site.server.rcpt(box.address)[0] == 550
    with site.server.host.lock():
        site.server.host.purge([box.mailbox_id, uuid.uuid4().hex])
    assert not site.server.host.paths.trashed(box.mailbox_id).exists()
    site.server.deliver(box.address, text="caught now")
    assert site.server.got(rest.name, "caught now")


def test_forward_may_take_a_deleted_mailboxs_name(site: Site) -> None:
    box = site.mailbox("moved")
    site.put(box)
    site.delete(box)
    assert applied(site.put(site.address(box.name, site.fixed.address)))
    site.server.deliver(box.address, text="forwarded now")
    assert site.server.got(site.fixed.name, "forwarded now")


def test_rename_keeps_mail_and_ends_the_old_name(site: Site) -> None:
    old = site.mailbox("before")
    site.put(old)
    site.server.deliver(old.address, text="moves along")
    assert site.server.got(old.name, "moves along")
    new = site.mailbox("after", mailbox_id=old.mailbox_id)
    leaving = Entry(old.key, site.entry(old).change, None)
    assert applied(site.apply([site.entry(new), leaving]))
    assert wait_for(lambda: site.server.messages(new.name))
    assert not site.server.can_log_in(old.name)
    assert site.server.rcpt(old.address)[0] == 550
