"""The domains' directories of webmail, without the programs that serve them."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailhost.config import ConfigError, HostConfig
from mailhost.paths import Paths
from mailhost.records import (
    Entry,
    HostedDomain,
    Mailbox,
    PlanLimits,
    Record,
    RecordError,
    Webmail,
    check_key,
    record_from,
)
from mailhost.store import Store
from mailhost.webmail import places
from mailhost.webmail.sites import Sites

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Place:
    """A server's webmail, whose domains all belong to one owner."""

    def __init__(self, root: Path) -> None:
        self.root = root / "webmail"
        for name in ("sites", "owners", "limits", "kept"):
            (self.root / name).mkdir(parents=True)
        config = HostConfig("mail1.plusmail.test")
        self.sites = Sites(Paths(root), config)
        self.owner = "7"

    def settle(self, *domains: str, at: datetime = NOW) -> None:
        asked = sorted({*self.sites.domains(), *domains})
        self.sites.settle(asked, domains, lambda _domain: (self.owner, 3_000_000), at)

    def file(self, domain: str, name: str = "webmail.db") -> Path:
        return self.root / "sites" / domain / name


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # Whose the files are is proved with real servers, by root.
    monkeypatch.setattr("os.chown", lambda *_arguments: None)
    return Place(tmp_path)


def test_new_domain_gets_tables_and_a_key_of_its_own(place: Place) -> None:
    place.settle("a.example", "b.example")
    assert place.sites.domains() == ["a.example", "b.example"]
    keys = {place.file(domain, "des_key").read_text() for domain in place.sites.domains()}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {32}
    for name in ("des_key", "webmail.db"):
        assert stat.S_IMODE(place.file("a.example", name).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.file("a.example", "").stat().st_mode) == 0o700
    assert (place.root / "limits" / "a.example").read_text() == "3000000\n"
    if places.SCHEMA.exists():
        with closing(sqlite3.connect(place.file("a.example"))) as db:
            assert db.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_doing_it_again_changes_nothing(place: Place) -> None:
    place.settle("a.example")
    key = place.file("a.example", "des_key").read_text()
    place.settle("a.example")
    assert place.file("a.example", "des_key").read_text() == key
    assert list(place.sites.kept()) == []


def test_removed_settings_are_kept_and_come_back(place: Place) -> None:
    place.settle("a.example")
    place.file("a.example", "mark").write_text("mine")
    place.settle()
    assert place.sites.domains() == []
    assert not list((place.root / "owners").iterdir())
    assert not list((place.root / "limits").iterdir())
    [kept] = place.sites.kept()
    assert (kept.domain, kept.owner, kept.removed_at) == ("a.example", "7", NOW)
    place.settle("a.example", at=NOW + DAY)
    assert place.file("a.example", "mark").read_text() == "mine"
    assert list(place.sites.kept()) == []


def test_the_latest_of_several_comes_back(place: Place) -> None:
    for days, text in ((0, "first"), (2, "second")):
        place.owner = "8" if days else "7"
        place.settle("a.example")
        place.file("a.example", "mark").write_text(text)
        place.settle(at=NOW + days * DAY)
    assert [kept.owner for kept in place.sites.kept()] == ["7", "8"]
    place.settle("a.example")
    assert place.file("a.example", "mark").read_text() == "second"


def test_removed_twice_in_a_second_loses_nothing(place: Place) -> None:
    for owner in ("7", "8", "7"):
        place.owner = owner
        place.settle("a.example")
        place.settle()
    assert sorted(kept.owner for kept in place.sites.kept()) == ["7", "8"]
    place.owner = "9"
    place.settle("a.example")
    place.owner = "7"
    place.settle()
    assert len(list(place.sites.kept())) == 3


def test_unknown_owners_are_not_one(place: Place) -> None:
    place.owner = ""
    place.settle("a.example")
    key = place.file("a.example", "des_key").read_text()
    place.settle()
    place.settle("a.example")
    assert place.file("a.example", "des_key").read_text() != key


def test_another_owner_begins_anew(place: Place) -> None:
    place.settle("a.example")
    place.file("a.example", "mark").write_text("of 7")
    place.settle()
    place.owner = "8"
    place.settle("a.example")
    assert not place.file("a.example", "mark").exists()
    assert [kept.owner for kept in place.sites.kept()] == ["7"]


def test_what_was_kept_long_enough_goes_for_good(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    place.settle("a.example", "b.example")
    place.file("a.example", "link").symlink_to(outside)
    place.settle("b.example")
    place.settle(at=NOW + 10 * DAY)
    assert place.sites.prune(NOW) == []
    assert place.sites.prune(NOW + DAY) == ["a.example"]
    assert [kept.domain for kept in place.sites.kept()] == ["b.example"]
    assert (outside / "precious").read_text() == "stays"


def test_longest_domain_has_room(place: Place) -> None:
    label = "a" * 63
    long = f"{label}.{label}.{label}.{'b' * 53}.example"
    assert len(long) == 253
    place.settle(long)
    place.settle()
    place.settle(long)
    assert place.sites.domains() == [long]


def test_killed_while_making_one_begins_it_again(place: Place) -> None:
    half = place.root / "sites" / ".new"
    half.mkdir()
    (half / "des_key").write_text("half")
    place.settle("a.example")
    assert place.file("a.example", "des_key").read_text() != "half"
    assert not half.exists()


def test_server_of_an_earlier_version_is_left_alone(tmp_path: Path) -> None:
    sites = Sites(Paths(tmp_path), HostConfig("mail1.plusmail.test"))
    assert not sites.can_be_settled()
    assert sites.domains() == []
    assert list(sites.kept()) == []
    assert list(tmp_path.iterdir()) == []


def test_only_domains_asked_about_are_settled(place: Place) -> None:
    place.settle("a.example", "b.example")
    place.sites.settle(["b.example", "c.example"], {"c.example"}, lambda _: ("7", 1), NOW)
    assert place.sites.domains() == ["a.example", "c.example"]


def test_store_remembers_whose_webmail_may_have_changed(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "mail.db")) as store:
        hosted = HostedDomain("b.example", "b@b.example")
        box = Mailbox("b", "b.example", "b" * 32, "{SHA512-CRYPT}$6$salt$" + "a" * 86)
        steps: list[tuple[Record, bool]] = [
            (Webmail("b.example"), True),
            (hosted, True),
            (box, False),
        ]
        for number, (record, dirty) in enumerate(steps, 1):
            with store.transaction():
                store.take([Entry(record.key, number, record)], NOW)
            assert store.webmail.dirty() == ["b.example"] * dirty, record
            assert store.webmail.of(["a.example", "b.example"]) == set(store.webmail.all())
            store.webmail.forget_dirty()
        with store.transaction():
            store.take([Entry(hosted.key, 9, None)], NOW)
        assert store.webmail.dirty() == ["b.example"]
        assert store.webmail.of(["b.example"]) == set()


def test_store_says_which_hosted_domains_have_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "mail.db")) as store:
        hosted = HostedDomain("b.example", "b@b.example", owner="7", plan="std")
        records: list[Record] = [Webmail("b.example"), Webmail("a.example"), hosted]
        entries = [Entry(record.key, n, record) for n, record in enumerate(records, 1)]
        with store.transaction():
            store.take(entries, NOW)
        assert store.webmail.all() == ["b.example"]
        assert store.about("b.example") == ("7", PlanLimits("std").message_bytes)
        plan = PlanLimits("std", message_bytes=12_345)
        with store.transaction():
            store.take([Entry(plan.key, 9, plan)], NOW)
        assert store.about("b.example") == ("7", 12_345)
        assert store.about("a.example") == ("", PlanLimits("default").message_bytes)
        with store.transaction():
            store.take([Entry("webmail:b.example", 10, None)], NOW)
        assert store.webmail.all() == []


def test_record_keeps_its_grammar() -> None:
    record = Webmail("a.example")
    assert record_from("webmail:a.example", record.value()) == record
    check_key("webmail:a.example")
    for domain in ("A.example", "../a.example", "a", "a.example\n", ""):
        with pytest.raises(RecordError):
            Webmail(domain)
        with pytest.raises(RecordError):
            check_key(f"webmail:{domain}")


def test_ports_of_webmail_are_in_nobodys_way_where_there_is_none() -> None:
    assert HostConfig("mail1.plusmail.test", imap_port=2145).webmail_port == 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("webmail_uid", 5000), ("webmail_uid", 5001), ("webmail_uid", 0), ("webmail_gid", 5000),
        ("webmail_imap_port", 2143), ("webmail_imap_port", 2144), ("webmail_imap_port", 0),
        ("webmail_submission_port", 0), ("webmail_port", 70_000),
    ],
)  # fmt: skip
def test_settings_that_would_open_too_much_are_refused(setting: str, value: int) -> None:
    given: dict[str, Any] = {"webmail_port": 2180, setting: value}
    with pytest.raises(ConfigError, match=setting):
        HostConfig("mail1.plusmail.test", **given)
