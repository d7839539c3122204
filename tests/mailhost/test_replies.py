"""What a record of an auto-reply becomes: a script in which nothing of it means anything."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost import grammar, replies
from mailhost.instance import missing_programs
from mailhost.records import Address, AutoReply, Entry, HostedDomain, Mailbox, Record, RecordError
from mailhost.replies import script
from mailhost.store import Store
from mailhost.store.replies import Reply
from tests.mailhost.test_settle import HASH, NOW, Place, place

__all__ = ["place"]

RECORD = AutoReply("tanaka", "example.com", "1" * 32, "Away", "I am away.")
BOX = Mailbox("tanaka", "example.com", "1" * 32, HASH)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def strings(text: str) -> list[str]:
    """Return the quoted strings of a script, as Sieve reads them (RFC 5228, 2.4.2)."""
    return [re.sub(r"\\(.)", r"\1", found) for found in _STRING.findall(text)]


def between(text: str) -> str:
    """Return a script without its strings: what is Sieve in it."""
    return _STRING.sub('""', text)


@given(st.text(max_size=60), st.text(max_size=200))
def test_nothing_that_is_written_leaves_its_string(subject: str, text: str) -> None:
    try:
        record = replace(RECORD, subject=subject, text=text)
    except RecordError:
        return
    made = script(Reply(record, (record.address,)), "Asia/Tokyo")
    plain = script(Reply(RECORD, (RECORD.address,)), "Asia/Tokyo")
    assert between(made) == between(plain)
    assert subject in strings(made)
    assert text.replace("\n", "\r\n") in strings(made)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": ""},
        {"subject": "two\nlines"},
        {"subject": "x" * 201},
        {"text": " \n "},
        {"text": "a\0b"},
        {"text": "a\rb"},
        {"text": "x" * 4001},
        {"text": "a\u202eb"},
        {"starts": "2026-13-01"},
        {"starts": "20261228"},
        {"starts": "1887-12-31"},
        {"ends": "2100-01-01"},
        {"starts": '2026-12-28" keep "'},
        {"starts": "2026-12-28", "ends": "2026-12-27"},
        {"days": 0},
        {"days": 31},
        {"days": True},
        {"mailbox_id": "../../etc"},
        {"name": "a/b"},
    ],
)
def test_what_breaks_the_grammar_is_no_record(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        replace(RECORD, **fields)  # type: ignore[arg-type]


def test_a_record_built_around_its_checks_is_not_written() -> None:
    object.__setattr__(made := replace(RECORD), "subject", 'x\r\n"; keep;')
    with pytest.raises(RecordError):
        script(Reply(made, ()), "Asia/Tokyo")
    with pytest.raises(grammar.GrammarError):
        script(Reply(RECORD, ('x"@example.com',)), "Asia/Tokyo")


def test_days_are_those_of_the_servers_zone_also_across_summer_time() -> None:
    record = replace(RECORD, starts="2026-01-10", ends="2026-07-10")
    made = script(Reply(record, (record.address,)), "Europe/Berlin")
    assert ':zone "+0100" :value "ge" "date" "2026-01-10"' in made
    assert ':zone "+0200" :value "le" "date" "2026-07-10"' in made


def test_knows_every_address_that_leads_to_the_mailbox(tmp_path: Path) -> None:
    store = Store(tmp_path / "mail.db")
    domain = HostedDomain("example.com", BOX.address)
    chain = [
        Address("info", "example.com", (BOX.address,)),
        Address("sales", "example.com", ("info@example.com", "x@outside.test")),
        Address("loop", "example.com", ("sales@example.com", "loop@example.com")),
        Address("", "example.com", (BOX.address,)),
        Address("other", "example.com", ("x@outside.test",)),
        Address("info", "nowhere.example", (BOX.address,)),
    ]
    take(store, domain, BOX, RECORD, *chain)
    found = store.replies.of("tanaka")
    assert found is not None
    assert found.addresses == tuple(
        f"{name}@example.com" for name in ("example", "info", "loop", "sales", "tanaka")
    )
    assert store.replies.dirty() == ["tanaka"]
    store.replies.forget_dirty(["tanaka"])
    take(store, replace(BOX, ftp=True), start=100)
    assert store.replies.dirty() == ["tanaka"]
    # The name is another's: the record is not for him.
    take(store, replace(BOX, mailbox_id="2" * 32), start=200)
    assert store.replies.of("tanaka") is None
    assert list(store.replies.all()) == []
    store.close()


def test_only_mailboxes_that_a_changed_address_led_or_leads_to_are_looked_at(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "mail.db")
    other = replace(BOX, name="suzuki", mailbox_id="3" * 32)
    info = Address("info", "example.com", ("sales@example.com",))
    sales = Address("sales", "example.com", ("TANAKA@example.com",))
    domain = HostedDomain("example.com", "example@example.com")
    theirs = replace(RECORD, name="suzuki", mailbox_id="3" * 32)
    take(store, domain, BOX, other, RECORD, theirs, info, sales)

    def looked_at(number: int, *records: object) -> list[str]:
        store.replies.forget_dirty(store.replies.dirty())
        take(store, *records, start=number)
        return store.replies.dirty()

    assert looked_at(100, replace(info, destinations=("x@outside.test",))) == ["tanaka"]
    assert looked_at(200, replace(info, destinations=("y@outside.test",))) == []
    assert looked_at(300, replace(info, destinations=(other.address,))) == ["suzuki"]
    assert looked_at(400, info) == ["suzuki", "tanaka"]
    # Both links of what was a chain at once.
    gone = [replace(one, destinations=("x@outside.test",)) for one in (info, sales)]
    assert looked_at(500, *gone) == ["tanaka"]
    store.close()


@pytest.mark.servers
def test_script_that_the_compiler_refuses_holds_up_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem := missing_programs():
        pytest.skip(problem)
    other = replace(BOX, name="suzuki", mailbox_id="3" * 32)
    theirs = replace(RECORD, name="suzuki", mailbox_id="3" * 32)
    place.paths.replies.mkdir(parents=True)
    place.paths.dovecot_conf.parent.mkdir(parents=True)
    place.paths.dovecot_conf.write_text("")
    right = replies.script
    wrong = lambda reply, zone: right(reply, zone) + ("x" if reply.record == RECORD else "")  # noqa: E731
    monkeypatch.setattr(replies, "script", wrong)
    records: list[Record] = [HostedDomain("example.com", BOX.address), BOX, other, RECORD, theirs]
    for number, record in enumerate(records, 10):
        place.take(Entry(record.key, number, record))
    place.settler.settle()
    assert place.store.replies.dirty() == ["tanaka"]
    assert place.paths.reply(other.mailbox_id).exists()
    assert not place.paths.reply(BOX.mailbox_id).exists()
    monkeypatch.setattr(replies, "script", right)
    place.settler.settle()
    assert place.store.replies.dirty() == []
    assert place.paths.reply(BOX.mailbox_id).exists()


def take(store: Store, *records: object, start: int = 1) -> None:
    """Write records into the store."""
    entries = [Entry(one.key, n, one) for n, one in enumerate(records, start)]  # type: ignore[attr-defined,arg-type]
    with store.transaction():
        store.take(entries, NOW)
