"""Who gets in under which name, and who no longer does."""

from __future__ import annotations

import imaplib
import poplib
import stat
import subprocess

import pytest

from mailhost.records import Address
from tests.mail.conftest import Site, applied
from tests.servers import mailbox

pytestmark = pytest.mark.servers


def test_name_and_whole_address_log_in_whatever_their_case(site: Site) -> None:
    for login in (site.fixed.name, site.fixed.address, site.fixed.address.upper()):
        assert site.server.can_log_in(login), login
    assert not site.server.can_log_in(site.fixed.name, "wrong-password")
    assert not site.server.can_log_in(f"{site.fixed.name}@other.example.com")


def test_forward_to_one_mailbox_alone_logs_in(site: Site) -> None:
    box = site.mailbox("my")
    site.put(
        box,
        site.address("info", box.address),
        site.address("deep", site.at("info")),
        site.address("plus+tag", box.address),
        site.address("both", box.address, site.fixed.address),
        site.address("away", "someone@outside.test"),
        site.address("mixed", box.address, "someone@outside.test"),
        site.address("", box.address),
    )
    for name in ("info", "deep", "plus+tag"):
        assert site.server.can_log_in(site.at(name)), name
    for name in ("both", "away", "mixed", "uncaught"):
        assert not site.server.can_log_in(site.at(name)), name


def test_ten_steps_log_in_and_eleven_do_not(site: Site) -> None:
    box = site.mailbox("end")
    chain = [site.address(f"s{n}", site.at(f"s{n - 1}")) for n in range(2, 12)]
    site.put(box, site.address("s1", box.address), *chain)
    assert site.server.can_log_in(site.at("s10"))
    assert not site.server.can_log_in(site.at("s11"))


def test_own_mailbox_wins_over_where_its_address_leads(site: Site) -> None:
    box = site.mailbox("own", "own-password-1")
    other = site.mailbox("other", "other-password-1")
    site.put(box, other, site.address(box.name, other.address))
    assert site.server.can_log_in(box.address, "own-password-1")
    assert not site.server.can_log_in(box.address, "other-password-1")


def test_two_ways_to_the_same_mailbox_are_one(site: Site) -> None:
    box = site.mailbox("both")
    site.put(
        box,
        site.address("left", box.address),
        site.address("right", box.address),
        site.address("fork", site.at("left"), site.at("right")),
    )
    assert site.server.can_log_in(site.at("fork"))


def test_session_is_the_mailbox_whatever_the_login_name(site: Site) -> None:
    site.server.deliver(site.fixed.address, text="same box")
    assert site.server.got(site.at("postmaster"), "same box")


@pytest.mark.parametrize("login", ["x' OR '1'='1", "%", "*", "a%u", "' --", "info@"])
def test_odd_login_names_are_refused(site: Site, login: str) -> None:
    assert not site.server.can_log_in(login)


def test_new_password_ends_the_old_one_and_its_sessions(site: Site) -> None:
    box = site.mailbox("pass", "old-password-1")
    site.put(box)
    pop3 = site.server.pop3(box.name, "old-password-1")
    imap = site.server.imap(box.address, "old-password-1")
    bystander = site.server.pop3(site.fixed.name)
    changed = site.mailbox("pass", "new-password-1", box.mailbox_id)
    assert applied(site.put(changed))
    for login in (box.name, box.address):
        assert not site.server.can_log_in(login, "old-password-1")
        assert site.server.can_log_in(login, "new-password-1")
    with pytest.raises((poplib.error_proto, OSError)):
        pop3.noop()
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        imap.noop()
    bystander.quit()
    pop3.close()
    imap.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "10", "0x7f.1", "12345"])
def test_session_of_a_name_like_an_address_ends_too(site: Site, name: str) -> None:
    box = mailbox(name, site.domain)
    assert applied(site.put(box))
    pop3, bystander = site.server.pop3(name), site.server.pop3(site.fixed.name)
    assert applied(site.delete(box))
    with pytest.raises((poplib.error_proto, OSError)):
        pop3.noop()
    bystander.quit()
    pop3.close()


def test_change_without_a_new_password_ends_no_session(site: Site) -> None:
    box = site.mailbox("quiet")
    site.put(box)
    pop3 = site.server.pop3(box.name)
    record = type(box)(box.name, box.domain, box.mailbox_id, box.password_hash, 1)
    assert applied(site.put(record))
    pop3.quit()


def test_address_of_a_domain_not_hosted_is_no_login_nor_a_step_of_one(site: Site) -> None:
    elsewhere = f"boss@{site.fixed.name}.outside.test"
    local_part, _, domain = elsewhere.partition("@")
    stranger = Address(local_part, domain, (site.fixed.address,))
    site.put(stranger, site.address("away", elsewhere))
    assert not site.server.can_log_in(elsewhere)
    assert not site.server.can_log_in(site.at("away"))


def test_local_users_read_no_maps_and_no_logs_and_deliver_nothing(site: Site) -> None:
    root = site.server.root
    try_all = (
        "import os, socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        if path.endswith('lmtp'):\n"
        "            socket.socket(socket.AF_UNIX).connect(path)\n"
        "        else:\n"
        "            open(path).close() if os.path.isfile(path) else os.listdir(path)\n"
        "        print('open:', path)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    closed = ["maps", "maps/mailboxes.lmdb", "log", "log/postfix.log", "log/dovecot.log"]
    closed += ["run/lmtp", "queue/private/dovecot-lmtp", "trash", "mail", "store", "tls"]
    tried = subprocess.run(
        ["/usr/bin/python3", "-c", try_all, str(root / "etc"), *(str(root / x) for x in closed)],
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tried.stdout == f"open: {root / 'etc'}\n"
    assert stat.S_IMODE((root / "maps").stat().st_mode) == 0o750
