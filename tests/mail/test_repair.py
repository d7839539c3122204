"""What is not as the store says is found, said and mended; and the command line says it too."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid

import pytest

from mailhost import instance
from mailhost.maps import Maps
from mailhost.processes import master
from tests.mail.conftest import Site, applied
from tests.mail.posting import offer, people, post, refusals
from tests.servers import REPOSITORY, MailServer, wait_for

pytestmark = pytest.mark.servers


def _mailhost(server: MailServer, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "mailhost", "--root", str(server.root), *arguments]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout + answer.stderr


def _differences(site: Site) -> list[str]:
    with site.server.host.lock():
        return [str(item) for item in site.server.host.differences()]


def _repair(site: Site) -> list[str]:
    with site.server.host.lock():
        return [str(item) for item in site.server.host.repair()]


def test_damaged_maps_are_found_and_mended(site: Site) -> None:
    site.put(site.address("info", site.fixed.address), site.address("gone", site.fixed.address))
    maps = Maps(site.server.host.paths)
    maps.put("aliases", [(site.at("info"), "wrong@outside.test"), (site.at("extra"), "x@y.test")])
    maps.delete("aliases", [site.at("gone")])
    found = _differences(site)
    assert len(found) == 3
    assert f"map aliases: {site.at('extra')}: wanted None, found 'x@y.test'" in found
    assert _repair(site) == found
    assert _differences(site) == []
    assert site.server.rcpt(site.at("extra"))[0] == 550
    assert site.server.rcpt(site.at("gone"))[0] == 250


def test_lost_map_is_made_anew(site: Site) -> None:
    site.server.stop("postfix")
    (site.server.root / "maps/mailboxes.lmdb").unlink()
    assert any(site.fixed.address in text for text in _differences(site))
    _repair(site)
    site.server.start("postfix")
    assert _differences(site) == []
    assert site.server.rcpt(site.fixed.address)[0] == 250


def test_damaged_tables_are_made_anew_from_the_records(site: Site) -> None:
    box = site.mailbox("box")
    site.put(box, site.address("info", box.address))
    with sqlite3.connect(site.server.root / "store/mail.db") as database:
        database.execute("UPDATE mailbox SET quota_bytes = 1 WHERE name = ?", (box.name,))
        database.execute("DELETE FROM destination WHERE address = ?", (site.at("info"),))
        database.execute("DELETE FROM destination WHERE address = ?", (site.at("abuse"),))
    database.close()
    found = _repair(site)
    assert any(text.startswith(f"table mailbox: {box.name}") for text in found)
    assert any(text.startswith(f"table address: {site.at('info')}") for text in found)
    assert any(text.startswith(f"table address: {site.at('abuse')}") for text in found)
    assert not any("$6$" in text for text in found)
    assert _differences(site) == []
    site.server.deliver(site.at("info"), site.at("abuse"), text="mended")
    assert site.server.got(box.name, "mended")
    assert site.server.got(site.fixed.name, "mended")


def test_stray_directory_goes_to_the_trash_whole(site: Site) -> None:
    mailbox_id = uuid.uuid4().hex
    stray = site.server.host.paths.home(mailbox_id)
    (stray / "Maildir/cur").mkdir(parents=True)
    (stray / "Maildir/cur/1").write_text("precious")
    assert any(mailbox_id in text for text in _differences(site))
    _repair(site)
    assert _differences(site) == []
    kept = site.server.host.paths.trash.glob("*/Maildir/cur/1")
    assert "precious" in [path.read_text() for path in kept]


def test_check_command_finds_and_mends(site: Site) -> None:
    assert _mailhost(site.server, "check") == (0, "0 differences.\n")
    Maps(site.server.host.paths).delete("mailboxes", [site.fixed.address])
    code, text = _mailhost(site.server, "check")
    assert code == 1
    assert site.fixed.address in text
    assert _mailhost(site.server, "check", "--repair")[0] == 0
    assert _mailhost(site.server, "check")[0] == 0


def test_status_says_which_server_is_down(site: Site) -> None:
    all_answer = "".join(f"{name} answers.\n" for name in instance.SERVERS)
    assert _mailhost(site.server, "status") == (0, all_answer)
    site.server.stop("dovecot")
    try:
        code, text = _mailhost(site.server, "status")
        assert code == 1
        assert "dovecot is not running" in text
    finally:
        site.server.start("dovecot")


def test_second_run_of_a_server_is_refused(site: Site) -> None:
    code, text = _mailhost(site.server, "run", "postfix")
    assert code == 1
    assert "already running" in text


def test_lookup_says_where_mail_goes(site: Site) -> None:
    site.put(
        site.address("info", site.fixed.address, "x@outside.test"),
        site.address("a", site.at("info")),
    )
    assert _mailhost(site.server, "lookup", site.at("A")) == (
        0,
        f"{site.fixed.address}\nx@outside.test\n",
    )
    assert _mailhost(site.server, "lookup", site.at("nobody")) == (1, "refused: nobody here\n")


def test_sending_says_what_an_account_may_did_and_was_refused(site: Site) -> None:
    source, name = "127.0.8.1", site.fixed.name
    assert "open from nowhere" in _mailhost(site.server, "sending", name)[1]
    site.server.receive(name, source)
    with site.server.smtp(source) as client:
        assert not refusals(post(client, site.fixed.address, *people(3)))
        assert offer(client, "boss@elsewhere.test", "x@outside.test")[0].code == 550
    with site.server.submission(name, source=source) as client:
        assert not refusals(post(client, site.fixed.address, *people(2)))

    def told() -> str:
        code, text = _mailhost(site.server, "sending", site.fixed.address)
        assert code == 0
        return text

    # Counts are written within a second.
    assert wait_for(lambda: ": 5 of 1000 recipients\n" in told())
    text = told()
    assert f"  3 from {source} (after a login)\n  2 from {source} (password)\n" in text
    assert "a message: 100 recipients, 3 MB, to a list 75 KB\n" in text
    assert f"\nopen from {source} until " in text
    assert ": sender (limit 0, reached 0), from boss@elsewhere.test to x@outside.test\n" in text
    assert _mailhost(site.server, "sending", "nobody")[0] == 1


def test_lift_is_done_by_the_daemon(site: Site) -> None:
    for whose in (site.fixed.name, "127.0.8.2", "2001:db8::1"):
        assert _mailhost(site.server, "lift", whose) == (0, f"{whose}: forgotten.\n")
    assert _mailhost(site.server, "guessing") == (0, "")


def test_trash_is_listed_and_purged(site: Site) -> None:
    box = site.mailbox("bin")
    site.put(box)
    assert applied(site.delete(box))
    assert f"{box.mailbox_id}  " in _mailhost(site.server, "trash")[1]
    assert _mailhost(site.server, "purge", box.mailbox_id)[0] == 0
    assert box.mailbox_id not in _mailhost(site.server, "trash")[1]


def test_killed_run_leaves_servers_that_the_next_run_ends(site: Site) -> None:
    run = site.server._runs["dovecot"]
    run.kill()
    run.wait()
    left = master(site.server.host.paths, "dovecot")
    assert left
    assert site.server.can_log_in(site.fixed.name)
    site.server.start("dovecot")
    assert wait_for(lambda: master(site.server.host.paths, "dovecot") not in (None, left))
    assert not instance.wait_until_answering(site.server.root, "dovecot")
    assert _mailhost(site.server, "status")[0] == 0


def test_setting_is_changed_by_init_and_the_rest_stays(site: Site) -> None:
    before = site.server.config
    assert _mailhost(site.server, "init", "--max-recipients", "50")[0] == 0
    main = (site.server.root / "etc/postfix/main.cf").read_text()
    assert "\nsmtpd_recipient_limit = 50\n" in main
    assert f"{before.smtp_port} inet" in (site.server.root / "etc/postfix/master.cf").read_text()
    assert _mailhost(site.server, "init", "--max-recipients", str(before.max_recipients))[0] == 0
