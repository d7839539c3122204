"""Host.apply against the real servers: what is confirmed, refused, repeated, killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mailhost import programs
from mailhost.host import Busy, Host, Status
from mailhost.maps import NAMES, Maps
from mailhost.processes import master
from mailhost.records import Address, Entry, HostedDomain, Mailbox, Record
from mailhost.store import Store
from tests.mail.conftest import Site, applied
from tests.servers import REPOSITORY, MailServer, hash_of, wait_for

pytestmark = pytest.mark.servers


def _lines(server: MailServer, name: str) -> dict[str, str]:
    return dict(Maps(server.host.paths).contents(name))


def _everything(server: MailServer) -> list[object]:
    """Return all that an idle apply must leave as it is."""
    files = [server.root / "store/mail.db", *(server.root / "maps").iterdir()]
    return [(path.name, path.stat().st_mtime_ns) for path in files]


def test_same_batch_again_changes_nothing_and_says_the_same(site: Site) -> None:
    box, gone = site.mailbox("twice"), site.mailbox("gone")
    site.put(gone)
    loop = site.address("loop", site.at("loop2")), site.address("loop2", site.at("loop"))
    entries = [
        *(site.entry(record) for record in (box, site.address("info", box.address), *loop)),
        Entry(gone.key, site.entry(gone).change, None),
    ]
    first = site.apply(entries)
    before = _everything(site.server)
    assert site.apply(entries) == first
    assert _everything(site.server) == before
    assert {outcome.status for outcome in first.values()} == {Status.APPLIED, Status.REFUSED}


def test_older_entry_that_comes_late_never_wins(site: Site) -> None:
    box = site.mailbox("late")
    older, newer = site.entry(box), Entry(box.key, site.entry(box).change, None)
    site.apply([newer])
    assert site.apply([older])[box.key].status is Status.STALE
    assert site.server.rcpt(box.address)[0] == 550
    assert not site.server.can_log_in(box.name)


def test_newest_entry_of_a_key_counts_in_whatever_order(site: Site) -> None:
    box = site.mailbox("order")
    older, newer = site.entry(box), Entry(box.key, site.entry(box).change, None)
    assert applied(site.apply([newer, older]))
    assert site.server.rcpt(box.address)[0] == 550


def test_address_of_a_domain_not_hosted_waits_unconfirmed_and_takes_nobodys_mail(
    site: Site,
) -> None:
    stranger = Address("someone", "outside.test", (site.fixed.address,))
    assert site.put(stranger)[stranger.key].status is Status.UNCONFIRMED
    text = f"not for {site.domain}"
    site.put(site.address("out", "someone@outside.test"))
    site.server.deliver(site.at("out"), text=text)
    assert site.server.outside.got("someone@outside.test", text)


def test_address_that_leads_back_is_refused_with_the_loop(site: Site) -> None:
    a, b, c = (f"{name}@{site.domain}" for name in "abc")
    assert applied(site.put(site.address("a", b), site.address("b", c)))
    outcome = site.put(site.address("c", a))[f"address:{c}"]
    assert (outcome.status, outcome.code) == (Status.REFUSED, "loop")
    assert outcome.reason == f"{c} -> {a} -> {b} -> {c}"
    assert site.server.rcpt(c)[0] == 550


def test_of_a_loop_in_one_batch_the_newest_is_refused(site: Site) -> None:
    older, newer = site.address("a", site.at("b")), site.address("b", site.at("a"))
    outcomes = site.put(older, newer)
    assert outcomes[older.key].status is Status.APPLIED
    assert outcomes[newer.key].status is Status.REFUSED


def test_catch_all_that_would_catch_its_own_destination_is_refused(site: Site) -> None:
    catch_all = site.address("", site.at("nobody-there"))
    assert site.put(catch_all)[catch_all.key].code == "loop"


def test_address_that_leads_to_itself_without_a_mailbox_is_not_live(site: Site) -> None:
    copy = site.address("copy", site.at("copy"))
    assert site.put(copy)[copy.key].status is Status.UNCONFIRMED
    assert site.server.rcpt(site.at("copy"))[0] == 550


def test_mailbox_id_of_another_mailbox_is_refused(site: Site) -> None:
    box = site.mailbox("first")
    thief = site.mailbox("second", mailbox_id=box.mailbox_id)
    site.put(box)
    assert site.put(thief)[thief.key].code == "id-taken"
    twin = site.mailbox("third"), site.mailbox("fourth")
    fourth = Mailbox(**(twin[1].value() | {"mailbox_id": twin[0].mailbox_id}))
    outcomes = site.put(twin[0], fourth)
    assert [outcome.status for outcome in outcomes.values()] == [Status.REFUSED, Status.APPLIED]


def test_servers_own_name_is_no_hosted_domain(site: Site) -> None:
    domain = HostedDomain(site.server.config.hostname, site.fixed.address)
    assert site.put(domain)[domain.key].code == "own-name"


@pytest.mark.parametrize(
    "destination",
    ["|cmd@outside.test", "a@outside.test\nb c@d.test", ":include:/etc/passwd", "ａ@outside.test"],
)
def test_record_built_around_its_checks_is_refused(site: Site, destination: str) -> None:
    record = site.address("evil", "good@outside.test")
    object.__setattr__(record, "destinations", (destination,))
    outcome = site.put(record)[record.key]
    assert (outcome.status, outcome.code) == (Status.REFUSED, "destination")
    assert site.server.host.highest_change() < site.entry(record).change
    assert site.server.rcpt(site.at("evil"))[0] == 550


def test_second_worker_is_busy(site: Site) -> None:
    other = Host(site.server.root)
    with site.server.host.lock(), pytest.raises(Busy), other.lock():
        pass
    with other.lock():
        other.apply([])
    other.close()


def test_apply_without_the_lock_is_a_mistake(site: Site) -> None:
    with pytest.raises(RuntimeError, match="lock"):
        site.server.host.apply([])


def test_dovecot_that_does_not_answer_leaves_mailboxes_unconfirmed(site: Site) -> None:
    box = site.mailbox("quiet", "old-password-1")
    site.put(box)
    site.server.stop("dovecot")
    try:
        changed = site.entry(site.mailbox("quiet", "new-password-1", box.mailbox_id))
        address = site.entry(site.address("info", box.address))
        outcomes = site.apply([changed, address])
        assert outcomes[box.key].status is Status.UNCONFIRMED
        assert "Dovecot" in outcomes[box.key].reason
        assert outcomes[address.key].status is Status.APPLIED
    finally:
        site.server.start("dovecot")
    assert applied(site.apply([changed, address]))
    assert site.server.can_log_in(box.name, "new-password-1")


def test_map_that_answers_wrong_is_unconfirmed_once_and_then_mended(site: Site) -> None:
    entry = site.entry(site.address("info", site.fixed.address))
    assert applied(site.apply([entry]))
    Maps(site.server.host.paths).put("aliases", [(site.at("info"), "wrong@outside.test")])
    assert site.apply([entry])[entry.key].status is Status.UNCONFIRMED
    assert applied(site.apply([entry]))


def test_many_changes_bring_the_maps_to_what_postmap_makes_anew(site: Site) -> None:
    count = 1050
    records: list[Record] = [
        Mailbox(f"m{n}-{site.fixed.name}", site.domain, f"{n:032x}", hash_of(), 0)
        for n in range(count)
    ]
    records += [site.address(f"f{n}", site.fixed.address) for n in range(count)]
    assert applied(site.put(*records))
    changed = {name: _lines(site.server, name) for name in NAMES}
    maps = Maps(site.server.host.paths)
    with closing(Store(site.server.host.paths.store)) as store:
        for name in NAMES:
            maps.rebuild(name, store.lines.source(name))
    assert {name: _lines(site.server, name) for name in NAMES} == changed
    assert site.server.rcpt(site.at("f1"))[0] == 250
    assert applied(site.delete(*records))
    assert site.server.rcpt(site.at("f1"))[0] == 550
    with site.server.host.lock():
        assert site.server.host.differences() == []
        site.server.host.purge([f"{n:032x}" for n in range(count)])


_WORKER = """
import os, signal, sys, pickle
from pathlib import Path
from mailhost.host import Host
root, instant, batch = sys.argv[1:]
host = Host(Path(root))
entries = pickle.loads(bytes.fromhex(batch))
def die(now):
    # Not before the batch is in the store: what came before it is settled first.
    if now == instant and host.highest_change() == max(entry.change for entry in entries):
        os.kill(os.getpid(), signal.SIGKILL)
host._settler.at = die
with host.lock():
    host.apply(entries)
"""
_REBUILDER = """
import sys
from pathlib import Path
from mailhost.host import Host
host = Host(Path(sys.argv[1]))
with host.lock():
    host._maps.rebuild("aliases", host._store.lines.source("aliases"))
"""
INSTANTS = [
    "committed",
    "added mailboxes",
    "added aliases",
    "added refused",
    "removed",
    "flushed",
    "kicked",
    "moved to trash",
    "moved back",
]


def _killed_at(site: Site, instant: str, entries: list[Entry]) -> bool:
    """Apply in a process of its own that is killed at the instant; say whether it was."""
    batch = pickle.dumps(entries).hex()
    command = [sys.executable, "-c", _WORKER, str(site.server.root), instant, batch]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert answer.returncode in (0, -signal.SIGKILL), answer.stderr
    return answer.returncode != 0


@pytest.mark.parametrize("instant", INSTANTS)
def test_worker_killed_at_any_instant_is_made_good_by_the_next(site: Site, instant: str) -> None:
    old, stays, back = (
        site.mailbox("old"),
        site.mailbox("stays", "first-password"),
        site.mailbox("back"),
    )
    site.put(old, stays, back)
    for box in (old, back):
        site.server.deliver(box.address, text=f"mail of {box.name}")
        assert site.server.got(box.name, f"mail of {box.name}")
    site.delete(back)
    session = site.server.pop3(stays.name, "first-password")
    new = site.mailbox("new")
    changed = site.mailbox("stays", "second-password", stays.mailbox_id)
    entries = [
        *(site.entry(r) for r in (new, changed, back, site.address("info", new.address))),
        Entry(old.key, site.entry(old).change, None),
    ]
    assert _killed_at(site, instant, entries)
    # A postmap of the dead worker may still be at work, and holds the lock so long.
    assert wait_for(lambda: _healed(site.server.host))
    site.server.deliver(site.at("info"), text="to the new one")
    assert site.server.got(new.name, "to the new one")
    assert site.server.got(back.name, f"mail of {back.name}")
    assert site.server.rcpt(old.address)[0] == 550
    assert site.server.can_log_in(stays.name, "second-password")
    with pytest.raises(Exception, match=r"shutting down|EOF|reset|closed|Broken"):
        session.noop()
    session.close()
    assert site.server.host.paths.trashed(old.mailbox_id).is_dir()
    assert applied(site.apply(entries))
    with site.server.host.lock():
        assert site.server.host.differences() == []


def _healed(host: Host) -> bool:
    try:
        with host.lock():
            host.apply([])
    except Busy:
        return False
    return True


def test_worker_killed_by_the_clock_leaves_nothing_half_done(site: Site) -> None:
    """The same without a chosen instant: 10 kills while 300 changes are applied."""
    changes: list[Record] = [site.address(f"r{n}", site.fixed.address) for n in range(300)]
    for turn in range(10):
        entries = [site.entry(record) for record in [*changes[turn::3], site.mailbox(f"t{turn}")]]
        batch = pickle.dumps(entries).hex()
        command = [sys.executable, "-c", _WORKER, str(site.server.root), "", batch]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as worker:
            time.sleep(0.15 + 0.02 * turn)
            worker.kill()
        assert wait_for(lambda: _healed(site.server.host))
        with site.server.host.lock():
            assert site.server.host.differences() == []
            assert applied(site.server.host.apply(entries))


def test_postmap_that_outlives_its_worker_keeps_the_lock(site: Site) -> None:
    slow = Path(site.server.root / "tmp/bin")
    slow.mkdir(exist_ok=True)
    fake = slow / "postmap"
    fake.write_text(f'#!/bin/sh\n: >{slow}/started\nsleep 1\nexec /usr/sbin/postmap "$@"\n')
    fake.chmod(0o755)
    script = f"import mailhost.programs as p; p.ENVIRONMENT['PATH'] = '{slow}:/usr/bin:/bin'\n"
    script += _REBUILDER
    command = [sys.executable, "-c", script, str(site.server.root)]
    environment = os.environ | {"PATH": f"{slow}:{os.environ['PATH']}"}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as worker:
        assert wait_for((slow / "started").exists)
        worker.kill()
    with pytest.raises(Busy), site.server.host.lock():
        pass
    assert wait_for(lambda: _healed(site.server.host))


def test_hung_dovecot_holds_the_lock_no_longer_than_patience(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = site.mailbox("patient")
    leader = master(site.server.host.paths, "dovecot")
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    auth = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "auth\n"]
    assert auth
    monkeypatch.setattr(programs, "PATIENCE", 1.0)
    entry = site.entry(box)
    for pid in auth:
        os.kill(pid, signal.SIGSTOP)
    try:
        outcome = site.apply([entry])[box.key]
        assert outcome.status == Status.UNCONFIRMED
        assert outcome.reason == "Dovecot did not answer: doveadm did not end within 1 seconds"
    finally:
        for pid in auth:
            os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert applied(site.apply([entry]))
