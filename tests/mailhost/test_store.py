"""The store alone: newest wins, all that follows is in the same transaction, nothing is scanned."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailhost import differences, rules
from mailhost.records import Address, Entry, HostedDomain, Mailbox, Record
from mailhost.store import Store

HASH = "{SHA512-CRYPT}$6$saltsalt$" + "a" * 86
NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
DOMAIN = HostedDomain("example.com", "example@example.com")
FIXED = Mailbox("example", "example.com", "e" * 32, HASH)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "mail.db")
    yield opened
    opened.close()


def take(store: Store, *entries: Entry) -> None:
    with store.transaction():
        store.take(entries, NOW)


def put(store: Store, *records: Record) -> None:
    first = store.records.highest_change() + 1
    take(store, *(Entry(record.key, n, record) for n, record in enumerate(records, first)))


def aliases(store: Store) -> dict[str, str]:
    return dict(store.lines.all("aliases"))


def test_database_is_closed_to_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "mail.db")
    put(store, DOMAIN)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    store.close()


def test_older_value_never_comes_back(store: Store) -> None:
    take(store, Entry(FIXED.key, 7, None))
    take(store, Entry(FIXED.key, 3, FIXED))
    assert store.records.get(FIXED.key) is None
    assert store.records.read(FIXED.key) == (7, None)


def test_failed_batch_leaves_nothing(store: Store) -> None:
    good, clash = Entry(DOMAIN.key, 1, DOMAIN), Mailbox("example", "example.net", "1" * 32, HASH)
    put(store, FIXED)
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store.take([good, Entry("mailbox:third", 3, clash)], NOW)
    assert [entry.key for entry in store.records.live()] == [FIXED.key]
    assert store.lines.dirty() == {}


def test_domain_has_its_duties(store: Store) -> None:
    put(store, DOMAIN, FIXED)
    assert aliases(store) == {
        "postmaster@example.com": "example@example.com",
        "abuse@example.com": "example@example.com",
    }


def test_second_domain_leads_its_fixed_address_to_the_first(store: Store) -> None:
    put(store, DOMAIN, FIXED, HostedDomain("example.net", "example@example.com"))
    assert aliases(store)["example@example.net"] == "example@example.com"


def test_own_address_takes_the_place_of_a_duty_and_gives_it_back(store: Store) -> None:
    duty = Address("abuse", "example.com", ("desk@outside.test",))
    put(store, DOMAIN, FIXED, duty)
    assert aliases(store)["abuse@example.com"] == "desk@outside.test"
    take(store, Entry(duty.key, 99, None))
    assert aliases(store)["abuse@example.com"] == "example@example.com"


def test_fixed_address_that_gets_a_mailbox_is_no_forward(store: Store) -> None:
    put(store, DOMAIN, HostedDomain("example.net", "example@example.com"))
    put(store, Mailbox("example", "example.net", "1" * 32, HASH))
    assert "example@example.net" not in aliases(store)
    assert store.lines.of("mailboxes", ["example@example.net"])


def test_copy_is_kept_only_while_there_is_a_mailbox(store: Store) -> None:
    box = Mailbox("info", "example.com", "1" * 32, HASH)
    put(store, DOMAIN, box, Address("info", "example.com", ("info@example.com", "x@outside.test")))
    assert aliases(store)["info@example.com"] == "info@example.com, x@outside.test"
    take(store, Entry(box.key, 99, None))
    assert aliases(store)["info@example.com"] == "x@outside.test"


def test_nothing_of_a_domain_not_hosted_is_rendered(store: Store) -> None:
    put(store, FIXED, Address("boss", "example.com", ("example@example.com",)))
    assert [list(store.lines.all(name)) for name in ("mailboxes", "aliases", "domains")] == [[]] * 3


def test_deleted_name_is_held_until_taken_or_purged(store: Store) -> None:
    box = Mailbox("info", "example.com", "1" * 32, HASH)
    put(store, DOMAIN, box)
    take(store, Entry(box.key, 98, None))
    store.closed(box.mailbox_id)
    assert dict(store.lines.all("refused")) == {"info@example.com": "550 5.1.1 User unknown"}
    assert aliases(store)["info@example.com"] == "info@example.com"
    put(store, Mailbox("info", "example.com", "2" * 32, HASH))
    assert dict(store.lines.all("refused")) == {}
    assert "info@example.com" not in aliases(store)


@pytest.mark.parametrize("name", ["domains", "mailboxes", "aliases", "refused"])
def test_looking_up_one_line_scans_nothing(store: Store, name: str, tmp_path: Path) -> None:
    query = f"EXPLAIN QUERY PLAN SELECT key, value FROM map_{name} WHERE key IN (?, ?)"  # noqa: S608
    database = sqlite3.connect(tmp_path / "mail.db")
    plan = [row[3] for row in database.execute(query, ("a", "b"))]
    database.close()
    scans = [step for step in plan if step.startswith("SCAN")]
    # Views found by key are read to their end: no table among them.
    assert set(scans) <= {"SCAN h", "SCAN map_aliases", "SCAN map_refused"}, plan


def test_loop_through_the_catch_all_is_found(store: Store) -> None:
    put(store, DOMAIN, FIXED, Address("", "example.com", ("nobody@example.com",)))
    assert rules.loop_of(store, "@example.com") == ["@example.com", "nobody@example.com"]


def test_two_ways_to_one_place_are_no_loop(store: Store) -> None:
    put(
        store,
        DOMAIN,
        FIXED,
        Address("a", "example.com", ("b@example.com", "c@example.com")),
        Address("b", "example.com", ("d@example.com",)),
        Address("c", "example.com", ("d@example.com",)),
        Address("d", "example.com", ("example@example.com",)),
    )
    assert not rules.loops(store, {f"{name}@example.com": 1 for name in "abcd"})


NAMES = ["a", "b", "c", "postmaster", "example"]
one_record: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Mailbox,
        st.sampled_from(NAMES),
        st.sampled_from(["example.com", "example.net"]),
        st.sampled_from([digit * 32 for digit in "12345678"]),
        st.just(HASH),
        st.integers(0, 3),
    ),
    st.builds(
        Address,
        st.sampled_from(["", *NAMES]),
        st.sampled_from(["example.com", "example.net"]),
        st.lists(
            st.sampled_from([f"{n}@example.{t}" for n in NAMES for t in ("com", "net", "org")]),
            min_size=1,
            max_size=3,
            unique=True,
        ).map(tuple),
    ),
    st.builds(
        HostedDomain,
        st.sampled_from(["example.com", "example.net"]),
        st.sampled_from(["a@example.com", "example@example.com", "b@example.net"]),
    ),
)
steps = st.lists(
    st.lists(st.tuples(one_record, st.integers(1, 60), st.booleans()), min_size=1, max_size=4),
    max_size=12,
)


@pytest.mark.long
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_projections_and_dirty_marks_follow_any_history(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[tuple[Record, int, bool]]],
) -> None:
    """Whatever is put and deleted in whatever order, a map kept by dirty marks is as a new one."""
    store = Store(tmp_path_factory.mktemp("store") / "mail.db")
    maps: dict[str, dict[str, str]] = {
        name: {} for name in ("domains", "mailboxes", "aliases", "refused")
    }
    newest: dict[str, int] = {}
    for batch in history:
        entries = {
            record.key: Entry(record.key, n, record if on else None) for record, n, on in batch
        }
        news = [e for e in entries.values() if e.change > store.records.read(e.key)[0]]
        while refused := rules.taken_ids(store, news):
            news = [entry for entry in news if entry.key not in refused]
        take(store, *news)
        newest |= {entry.key: entry.change for entry in news}
        for mailbox_id in store.unsettled("restoring"):
            store.restored(mailbox_id)
        for mailbox_id in store.unsettled("closing"):
            store.closed(mailbox_id)
        for name, keys in store.lines.dirty().items():
            lines = store.lines.of(name, keys)
            for key in keys:
                maps[name].pop(key, None)
            maps[name] |= lines
            store.lines.forget_dirty(name)
        assert {name: dict(store.lines.all(name)) for name in maps} == maps
        for name in maps:
            assert list(store.lines.source(name)) == [
                f"{key}\t{value}\n" for key, value in store.lines.all(name)
            ]
        assert list(differences.of_projections(store)) == []
    assert all(store.records.read(key)[0] == change for key, change in newest.items())
    store.close()


def test_load_is_the_same_as_one_by_one(tmp_path: Path) -> None:
    records: list[Record] = [
        DOMAIN,
        FIXED,
        Address("info", "example.com", ("example@example.com", "X@outside.test")),
        HostedDomain("example.net", "example@example.com"),
        Address("", "example.net", ("info@example.com",)),
    ]
    one, other = Store(tmp_path / "one.db"), Store(tmp_path / "other.db")
    put(one, *records)
    with other.bulk():
        assert other.load(records, 1) == len(records)
    for name in ("domains", "mailboxes", "aliases", "refused"):
        assert list(one.lines.all(name)) == list(other.lines.all(name))
    assert list(differences.of_projections(other)) == []
    with other.bulk():
        other.projections.anew()
    assert list(one.lines.all("aliases")) == list(other.lines.all("aliases"))
    one.close()
    other.close()
