"""Webmail for real: Roundcube, its nginx and PHP, before a Postfix and a Dovecot of our own."""

from __future__ import annotations

import imaplib
import os
import smtplib
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mailhost import instance
from mailhost.batch import Status
from mailhost.policy import report
from mailhost.processes import master
from mailhost.records import Address, PlanLimits, Webmail
from tests.hostile import corpus
from tests.mail.conftest import Site, applied, new_site
from tests.roundcube import LOGGED_IN, REFUSED, Session
from tests.servers import PASSWORD, MailServer, free_ports, mail_server, message, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

VISITOR, NEW = "198.51.100.7", "another-horse-battery"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    """A running mail server with webmail, shared by the tests here."""
    if problem := instance.missing_programs() or instance.missing_for("webmail"):
        pytest.skip(problem)
    with mail_server(webmail_port=free_ports(1)[0], slow_guessing=True) as running:
        yield running


@pytest.fixture(scope="module")
def looked_at(server: MailServer) -> Site:
    """A domain with webmail for tests that change nothing."""
    made = new_site(server)
    assert applied(made.put(Webmail(made.domain)))
    return made


@pytest.fixture
def site(server: MailServer) -> Site:
    """A new domain with webmail."""
    made = new_site(server, owner="7")
    assert applied(made.put(Webmail(made.domain)))
    return made


def visit(site: Site, domain: str = "", **options: Any) -> Session:
    """Return a visitor of a domain's webmail, the site's by default."""
    return Session(site.server.config.webmail_port, domain or site.domain, **options)


def inside(site: Site, login: str = "", password: str = PASSWORD, **options: Any) -> Session:
    """Return a visitor who has logged in, by default as the fixed account."""
    visitor = visit(site, **options)
    answer = visitor.log_in(login or site.fixed.name, password)
    assert answer.status == LOGGED_IN, (answer.said, site.server.logs())
    return visitor


def lay(site: Site, *contents: bytes) -> Path:
    """Lay messages into the fixed account's mailbox as they are; return its maildir."""
    home = site.server.host.paths.home(site.fixed.mailbox_id) / "Maildir"
    for name in ("cur", "new", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (home / "new" / f"{1_700_000_000 + number}.M{number}.test").write_bytes(content)
    config = site.server.config
    for path in (home.parent.parent, home.parent, home, *home.rglob("*")):
        os.chown(path, config.mail_uid, config.mail_gid)
    return home


# Which domains


def test_only_domains_that_have_it_are_served_by_their_names(
    server: MailServer, looked_at: Site
) -> None:
    other = new_site(server)
    page = visit(looked_at, language="ja").ask()
    assert page.status == 200
    assert f'<h2 id="plusmail-domain">{looked_at.domain}</h2>' in page.text
    assert f"<title>{looked_at.domain} :: " in page.text
    assert "POPアカウント名" in page.text
    assert "ログイン" in page.text
    assert "Login" in visit(looked_at, language="en").ask().text
    assert visit(looked_at, f"{looked_at.domain}.localhost").ask().status == 200
    for host in (other.domain, "nowhere.example", f"x.{looked_at.domain}", "..", "127.0.0.1"):
        page = visit(looked_at, host).ask()
        assert page.status in (400, 404), host
    page = visit(looked_at, other.domain).ask()
    assert "ウェブメールをご利用いただけません" in page.text
    assert "There is no webmail at this address." in page.text


@pytest.mark.parametrize(
    "path",
    [
        "installer/", "installer/index.php", "index.php", "config/config.inc.php", "../sites/",
        "SQL/sqlite.initial.sql", "plugins/plusmail/plusmail.php", "plugins/jqueryui/jqueryui.php",
        "program/lib/Roundcube/rcube.php", "skins/elastic/../../config", "logs/errors.log", "temp/",
        "bin/updatedb.sh", "webmail.db", "alive/x",
    ],
)  # fmt: skip
def test_nothing_but_pages_and_their_files_can_be_had(looked_at: Site, path: str) -> None:
    assert visit(looked_at).ask(path).status in (400, 404)


def test_address_without_its_end_leads_on_wherever_the_front_is(looked_at: Site) -> None:
    answer = visit(looked_at).ask("../webmail")
    assert (answer.status, answer.headers["Location"]) == (301, "/webmail/")


def test_pages_are_hardened(looked_at: Site) -> None:
    page = visit(looked_at).ask()
    headers = page.headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "sameorigin"
    assert "X-Powered-By" not in headers
    [cookie] = [text for text in headers.get_all("Set-Cookie") or [] if "webmail" in text]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "secure" not in cookie.lower()
    by_tls = visit(looked_at).ask(X_Forwarded_Proto="https").headers.get_all("Set-Cookie") or []
    assert all("secure" in text.lower() for text in by_tls if "webmail" in text)
    assert visit(looked_at).ask("skins/elastic/styles/styles.min.css").status == 200


# Who gets in


def test_accounts_of_the_domain_log_in_by_name_or_address(server: MailServer, site: Site) -> None:
    name = site.fixed.name
    for login in (name, site.fixed.address, name.upper(), f"{name}@{site.domain.upper()}"):
        visitor = inside(site, login)
        folders = visitor.ask("?_task=settings&_action=folders").text
        for folder in ("Drafts", "Junk", "Sent", "Trash"):
            assert f'"{folder}"' in folders
    said = report.lines(server.root, name, time.time())
    assert any("open from nowhere" in line for line in said), said


def test_others_are_refused_in_the_words_for_a_wrong_password(
    server: MailServer, site: Site
) -> None:
    other = new_site(server)
    # By a forward from here their name works with mail programs, but not at this webmail.
    assert applied(site.put(Address("info", site.domain, (other.fixed.address,))))
    assert server.can_log_in(f"info@{site.domain}")
    wrong = visit(site).log_in(site.fixed.name, "wrong-password")
    assert wrong.status == REFUSED
    for login in (other.fixed.address, "info", "x' OR '1'='1"):
        answer = visit(site).log_in(login, PASSWORD)
        assert (answer.status, answer.said) == (REFUSED, wrong.said), login


def test_wrong_passwords_are_the_visitors_and_not_everybodys(
    server: MailServer, site: Site
) -> None:
    visit(site, address="203.0.113.9").log_in(site.fixed.name, "wrong-password")
    with closing(sqlite3.connect(server.host.paths.policy / "policy.sqlite3")) as db:
        query = "SELECT network FROM failure WHERE account = ?"
        failed = wait_for(lambda: db.execute(query, (site.fixed.name,)).fetchall())
    assert failed == [("203.0.113.9",)]


def test_one_visitor_never_holds_up_all_of_php(looked_at: Site) -> None:
    port, domain = looked_at.server.config.webmail_port, looked_at.domain
    head = (
        f"POST /webmail/ HTTP/1.1\r\nHost: {domain}\r\nX-Forwarded-For: 192.0.2.66\r\n"
        "Content-Length: 9\r\n\r\n"
    )
    form = {"_task": "login"}
    neighbour, guesser = visit(looked_at), visit(looked_at, address="192.0.2.66")
    # Forms under way, each as long as it likes.
    with ExitStack() as open_:
        for _ in range(8):
            held = open_.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            held.sendall(head.encode())
        assert wait_for(lambda: guesser.ask(form=form).status == 503)
        assert guesser.ask().status == 200
        assert neighbour.ask(form=form).status == 200
    assert wait_for(lambda: guesser.ask(form=form).status == 200)


def test_who_gives_an_address_on_a_customers_port_is_not_believed(
    server: MailServer, site: Site
) -> None:
    connection = _imap_with_id(server, "203.0.113.9")
    connection.login(site.fixed.name, PASSWORD)
    connection.logout()
    lines = wait_for(
        lambda: [
            line for line in report.lines(server.root, site.fixed.name, time.time())
            if "127.0.0.1" in line
        ]
    )  # fmt: skip
    assert lines
    assert not [
        line
        for line in report.lines(server.root, site.fixed.name, time.time())
        if "203.0.113.9" in line
    ]


def _imap_with_id(server: MailServer, address: str) -> imaplib.IMAP4:
    """Connect to the customers' port, and say there that one comes from elsewhere."""
    imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
    connection = imaplib.IMAP4("127.0.0.1", server.config.imap_port, timeout=10)
    connection._simple_command("ID", f'("x-originating-ip" "{address}")')
    return connection


# Sending


def test_what_is_sent_counts_as_sent_from_webmail(server: MailServer, site: Site) -> None:
    other = new_site(server)
    visitor = inside(site)
    assert "sent_successfully" in visitor.send("you@outside.test", "こんにちは", "日本語です").text
    assert "sent_successfully" in visitor.send(other.fixed.address, "inside").text
    assert server.outside.got("you@outside.test", "Content-Type: text/plain")
    assert server.got(other.fixed.name, "Subject: inside")
    assert len(visitor.uids("Sent")) == 2
    lines = report.lines(server.root, site.fixed.name, time.time())
    assert f"  2 from {VISITOR} (webmail)" in lines


def test_no_program_of_this_machine_sends_as_an_account(
    server: MailServer, looked_at: Site
) -> None:
    name = looked_at.fixed.name
    with smtplib.SMTP("127.0.0.1", server.config.webmail_submission_port, timeout=30) as client:
        client.ehlo()
        for words in (
            f"LOGIN={name}", f"login={name}", f"ADDR=198.51.100.7 LOGIN={name}", f" LOGIN={name}",
            f"LOGIN={name} ADDR=198.51.100.7", f"NAME=[UNAVAILABLE] LOGIN={name}", "PORT=25",
        ):  # fmt: skip
            assert client.docmd("XCLIENT", words)[0] >= 500, words
        assert client.docmd("XCLIENT", "ADDR=198.51.100.7")[0] == 220
        client.ehlo()
        assert client.mail(looked_at.fixed.address)[0] == 530
        assert client.rcpt("you@outside.test")[0] >= 500


def test_refusals_are_shown_in_their_own_words(server: MailServer) -> None:
    limits = PlanLimits("tiny", message_bytes=20_000, recipients_per_message=2)
    site = new_site(server, limits, plan="tiny")
    assert applied(site.put(Webmail(site.domain)))
    visitor = inside(site)
    forged = visitor.send("you@outside.test", _from="boss@elsewhere.example").said
    assert any("is not an address of the account" in words for words in forged), forged
    many = visitor.send(",".join(f"you{n}@outside.test" for n in range(3))).said
    assert any("2 recipients" in words for words in many), many
    large = visitor.send("you@outside.test", text="word " * 6000).said
    assert any("kB" in words or "KB" in words for words in large), large
    limit = server.host.paths.webmail / "limits" / site.domain
    assert limit.read_text() == "20000\n"


# Reading and deleting


def test_deleting_makes_room_in_a_full_mailbox(server: MailServer) -> None:
    site = new_site(server, quota_bytes=30_000)
    assert applied(site.put(Webmail(site.domain)))
    server.deliver(site.fixed.address, text="large " * 8000)
    assert wait_for(lambda: server.rcpt(site.fixed.address)[0] == 552)
    visitor = inside(site)
    [uid] = visitor.uids()
    assert "moved to Trash" in visitor.delete(uid).text
    assert visitor.uids() == []
    [trashed] = visitor.uids("Trash")
    assert "deleted successfully" in visitor.delete(trashed, folder="Trash").text
    assert wait_for(lambda: server.rcpt(site.fixed.address)[0] == 250)


class Markup(HTMLParser):
    """Finds what a page would do that a message asked for: scripts, handlers, things fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def of(cls, page: str) -> list[str]:
        """Return what is found in a page."""
        parser = cls()
        parser.feed(page)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            # Handlers of Roundcube's own have the text within strings.
            handler = name.startswith("on") and (value or "").strip().startswith("window.hit")
            # A link leads there only for who follows it.
            fetched = "evil.invalid" in (value or "") and name in FETCHED and tag != "a"
            if handler or fetched or (value or "").lower().strip().startswith("javascript:"):
                self.found.append(f"<{tag} {name}={value}>")

    def handle_data(self, data: str) -> None:
        # As the content of a script of its own; Roundcube's have the text within strings.
        if self.cdata_elem == "script" and data.strip().startswith("window.hit"):
            self.found.append(data)


FETCHED = {"src", "srcset", "href", "background", "action", "poster", "data", "style", "content"}


def test_hostile_messages_are_shown_and_go(server: MailServer, site: Site) -> None:
    messages = dict(corpus())
    home = lay(site, *messages.values())
    visitor = inside(site)
    uids = list(range(1, len(messages) + 1))
    # A file of no bytes, which no delivery makes, has no row; it is shown and goes all the same.
    blank = [uid for uid, content in zip(uids, messages.values(), strict=True) if not content]
    assert sorted([*visitor.uids(), *blank]) == uids
    before = {path.name.partition(":")[0]: path.read_bytes() for path in home.glob("*/*.test*")}
    for uid, name in zip(uids, messages, strict=True):
        page = visitor.show(uid)
        assert page.status == 200, (name, page.status)
        # Of half a million lines the first tell enough: to read them all takes 20 s.
        assert Markup.of(page.text[:300_000]) == [], name
        assert 'id="messagebody"' in page.text, name
    after = {path.name.partition(":")[0]: path.read_bytes() for path in home.glob("*/*.test*")}
    assert after == before
    visitor.delete(*uids)
    assert visitor.uids() == []
    assert len(visitor.uids("Trash")) == len(messages) - len(blank)
    visitor.delete(*uids, folder="Trash")
    assert visitor.uids("Trash") == []
    assert not list(home.rglob("*.test*"))
    errors = (server.host.paths.webmail / "log" / "php.log").read_text()
    assert "Fatal" not in errors


# Coming and going


def books(site: Site) -> list[str]:
    """Return the names in the domain's address books, as the files have them."""
    file = site.server.host.paths.webmail / "sites" / site.domain / "webmail.db"
    with closing(sqlite3.connect(file)) as db:
        return [name for (name,) in db.execute("SELECT name FROM contacts")]


def note(site: Site, name: str, login: str = "") -> None:
    """Put somebody into an account's address book, by default the fixed account's."""
    visitor = inside(site, login)
    form = {"_source": "0", "_framed": "1", "_name": name, "_subtype_email[]": "home"}
    form["_email[]"] = "friend@outside.test"
    visitor.ask("?_task=addressbook&_action=save", form)
    assert name in books(site)


def test_settings_come_back_within_their_time_and_not_after(site: Site) -> None:
    host = site.server.host
    note(site, "Friend")
    visitor = inside(site)
    webmail = Webmail(site.domain)
    assert applied(site.delete(webmail))
    assert visitor.ask("?_task=mail").status == 404
    [kept] = [one for one in host.kept_webmail() if one.domain == site.domain]
    assert kept.owner == "7"
    long_ago = datetime.now(UTC) - timedelta(days=14)
    with host.lock():
        assert host.prune_webmail(long_ago) == []
    assert applied(site.put(webmail))
    assert books(site) == ["Friend"]
    inside(site)
    assert applied(site.delete(webmail))
    with host.lock():
        # Beside what other tests have left.
        assert site.domain in host.prune_webmail(datetime.now(UTC) + timedelta(seconds=2))
    assert applied(site.put(webmail))
    assert books(site) == []
    inside(site)


def shown(site: Site, login: str) -> str:
    """Return what an account sees of its address book."""
    return inside(site, login).ask("?_task=addressbook&_action=list&_source=0&_remote=1").text


def test_successor_of_a_deleted_account_gets_none_of_its_settings(site: Site) -> None:
    old, new = site.mailbox("tanaka"), site.mailbox("tanaka")
    assert applied(site.put(old))
    note(site, "Friend", old.name)
    assert "Friend" in shown(site, old.name)
    assert applied(site.delete(old))
    assert applied(site.put(new))
    assert "Friend" not in shown(site, new.name)
    # The first one comes back instead, with its mail and all else.
    assert applied(site.delete(new))
    assert applied(site.put(old))
    assert "Friend" in shown(site, old.name)
    with site.server.host.lock():
        site.server.host.purge([new.mailbox_id])
    assert applied(site.delete(old))
    with site.server.host.lock():
        site.server.host.purge([old.mailbox_id])
    assert books(site) == []


def test_new_password_ends_sessions_opened_with_the_old(site: Site) -> None:
    box = site.mailbox("suzuki")
    assert applied(site.put(box))
    note(site, "Friend", box.name)
    open_ = inside(site, box.name)
    books_ = "?_task=addressbook&_action=list&_source=0&_remote=1"
    assert "Friend" in open_.ask(books_).text
    hashed = site.mailbox("x", NEW).password_hash
    assert applied(site.put(replace(box, password_hash=hashed)))
    # Not even what no mail server is asked about.
    asked = open_.ask(books_)
    assert "Friend" not in asked.text
    assert "session_error" in asked.text
    assert "login-form" in open_.ask("?_task=settings").text
    assert "Friend" in inside(site, box.name, NEW).ask(books_).text


def test_another_owner_of_the_domain_gets_none_of_them(site: Site) -> None:
    host = site.server.host
    note(site, "Friend")
    webmail, hosted = Webmail(site.domain), host.record(f"domain:{site.domain}")[1]
    assert hosted is not None
    site.delete(webmail, hosted)
    assert visit(site).ask().status == 404
    outcomes = site.put(type(hosted)(**{**hosted.value(), "owner": "8"}), webmail)
    assert applied(outcomes)
    assert books(site) == []


def test_webmail_of_a_domain_that_is_not_here_is_not_confirmed(server: MailServer) -> None:
    site = new_site(server)
    outcomes = site.put(Webmail("elsewhere.example"))
    assert outcomes["webmail:elsewhere.example"].status == Status.UNCONFIRMED
    assert site.delete(Webmail("elsewhere.example"))


def test_what_was_missed_is_found_and_mended(server: MailServer, site: Site) -> None:
    place = server.host.paths.webmail / "sites" / site.domain
    place.rename(place.with_name(".lost"))
    with server.host.lock():
        assert any(one.where == "webmail" for one in server.host.differences())
        server.host.repair()
        assert server.host.differences() == []
    assert visit(site).ask().status == 200


# The processes


def test_it_runs_as_a_user_who_can_read_nothing_else(server: MailServer, site: Site) -> None:
    inside(site)
    paths, config = server.host.paths, server.config
    leader = master(paths, "webmail")
    processes = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    users = {pid: Path(f"/proc/{pid}").stat().st_uid for pid in processes if _in(pid, leader)}
    assert len(users) > 2
    assert set(users.values()) == {0, config.webmail_uid}
    assert [pid for pid, user in users.items() if user == 0] == [leader]
    home = lay(site, message("secret"))
    closed = [
        paths.store, paths.policy_key, paths.panel_imap, paths.tls / "server.pem", home,
        paths.ftp_accounts, paths.maps, paths.log, paths.webmail / "kept",
        paths.webmail / "owners", paths.root / "host.json", paths.policy, paths.usage_db,
    ]  # fmt: skip
    for path in closed:
        tried = subprocess.run(
            ["setpriv", "--reuid", str(config.webmail_uid), "--regid", str(config.webmail_gid),
             "--clear-groups", "--", "ls" if path.is_dir() else "cat", str(path)],
            capture_output=True, check=False,
        )  # fmt: skip
        assert tried.returncode, path


def _in(pid: int, leader: int | None) -> bool:
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False


def test_users_of_the_machine_reach_nothing_of_the_servers(server: MailServer) -> None:
    files = [Path(where, name) for where, _, names in os.walk(server.root) for name in names]
    sockets = [str(file) for file in files if stat.S_ISSOCK(file.lstat().st_mode)]
    assert len(sockets) > 20
    program = (
        "import socket, sys\n"
        "for path in sys.argv[1:]:\n"
        "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):\n"
        "        try:\n"
        "            socket.socket(socket.AF_UNIX, kind).connect(path)\n"
        "            print(path)\n"
        "        except OSError:\n"
        "            pass\n"
    )
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
    done = subprocess.run(
        [*nobody, "/usr/bin/python3", "-c", program, *sockets],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # Which asks DNS, as anybody can.
    assert done.stdout.split() == [str(server.root / "run/dns-client")]


def test_end_of_its_web_server_ends_it_and_it_comes_up_again(
    server: MailServer, site: Site
) -> None:
    server.kill("webmail")
    assert wait_for(lambda: visit_fails(site))
    server.start("webmail")
    assert visit(site).ask().status == 200


def visit_fails(site: Site) -> bool:
    try:
        visit(site).ask()
    except OSError:
        return True
    return False
