"""From an empty machine to a delivered message and back, by manage.py alone: no Celery, no web."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from poplib import error_proto
from uuid import uuid4

import pytest

from standalone.place import SERVER
from tests.e2e.product import PASSWORD, Product, lines_of, product

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

PASSWORD_TOO = "battery-staple-horse"
TAKEN = "Error: User exists. Choose another username."


@pytest.fixture(scope="module")
def shell() -> Iterator[Product]:
    """An installation without Celery and web, opened by the operator from nothing."""
    with product(demo=False, delay=900, MAILBOX_PASSWORD_ROUNDS="1000") as made:
        assert f"server.{SERVER}" in made.manage("add_server", SERVER)
        made.manage("add_plan", "standard", "スタンダード", "Standard", "--accounts", "20")
        for login in ("sakura", "wakaba"):
            made.manage("add_customer", login, f"{login} Co.", typed=f"{PASSWORD}\n")
            made.manage(
                *("add_domain", f"{login}.example", "--customer", login, "--plan", "standard"),
                *("--server", SERVER, "--with-password"),
                typed=f"{PASSWORD}\n",
            )
        names = ("sato", "ito", "kato", "harm", "mori")
        addresses = ["info@wakaba.example", *(f"{name}@sakura.example" for name in names)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda address: add(made, address), addresses))
        made.manage("add_forward", "kaikei@sakura.example", "ito@sakura.example")
        made.manage("add_forward", "toharm@sakura.example", "harm@sakura.example")
        # Two domains with their accounts, six accounts, two addresses, and the plan's limits.
        assert f"{SERVER}: 13 applied, 0 failed" in apply_now(made)
        yield made


def add(shell: Product, address: str, password: str = PASSWORD) -> str:
    """Add an account, the password by standard input."""
    return shell.manage("add_account", address, typed=f"{password}\n")


def apply_now(shell: Product) -> str:
    """Apply what waits, without waiting."""
    return shell.manage("apply_changes", "--now")


def nothing_differs(shell: Product) -> bool:
    """Ask for the differences between panel and server."""
    return "0 difference(s) found." in shell.manage("reconcile")


def test_account_and_forward_work_from_the_time_they_are_applied(shell: Product) -> None:
    refused = shell.manage("add_account", "info@sakura.example", typed=f"{PASSWORD}\n", fails=True)
    assert TAKEN in refused
    assert "wakaba" not in refused

    add(shell, "myinfo@sakura.example")
    shell.manage("add_forward", "info@sakura.example", "myinfo@sakura.example")
    waiting = shell.manage("show_changes")
    assert lines_of(waiting, ["pending add", "mailbox:myinfo"])
    assert lines_of(waiting, ["pending add", "address:info@sakura.example"])
    assert f"{SERVER}: 0 applied" in shell.manage("apply_changes")
    assert shell.mail.rcpt("info@sakura.example")[0] == 550
    assert not shell.mail.can_log_in("myinfo")

    assert f"{SERVER}: 2 applied, 0 failed" in apply_now(shell)
    assert shell.manage("show_changes") == ""
    shell.mail.deliver("info@sakura.example", text="by the command line")
    assert shell.mail.got("myinfo", "by the command line")
    assert shell.mail.can_log_in("info@sakura.example")
    assert nothing_differs(shell)


def test_new_password_ends_the_old_one_and_its_sessions(shell: Product) -> None:
    session = shell.mail.pop3("sato")
    shell.manage("set_mailbox_password", "sato@sakura.example", typed=f"{PASSWORD_TOO}\n")
    assert not shell.mail.can_log_in("sato", PASSWORD_TOO)
    session.noop()

    apply_now(shell)
    assert shell.mail.can_log_in("sato", PASSWORD_TOO)
    assert not shell.mail.can_log_in("sato")
    with pytest.raises((error_proto, OSError)):
        session.noop()
    session.close()


def test_deleted_account_comes_back_with_mail_password_and_forward(shell: Product) -> None:
    shell.mail.deliver("kaikei@sakura.example", text="kept in the trash")
    assert shell.mail.got("ito", "kept in the trash")
    shell.manage("delete_account", "ito@sakura.example")
    apply_now(shell)
    for address in ("ito@sakura.example", "kaikei@sakura.example"):
        assert shell.mail.rcpt(address)[0] == 550
    assert not shell.mail.can_log_in("ito")

    shell.manage("restore_account", "ito@sakura.example")
    apply_now(shell)
    assert shell.mail.got("ito", "kept in the trash")
    shell.mail.deliver("kaikei@sakura.example", text="after the return")
    assert shell.mail.got("ito", "after the return")
    assert nothing_differs(shell)


def test_account_whose_name_was_taken_since_comes_back_under_another(shell: Product) -> None:
    shell.mail.deliver("kato@sakura.example", text="old mail")
    assert shell.mail.got("kato", "old mail")
    shell.manage("delete_account", "kato@sakura.example")
    apply_now(shell)
    add(shell, "kato@wakaba.example", PASSWORD_TOO)
    apply_now(shell)
    assert shell.mail.messages("kato", PASSWORD_TOO) == []

    assert TAKEN in shell.manage("restore_account", "kato@sakura.example", fails=True)
    shell.manage("restore_account", "kato@sakura.example", "--as", "kato-san")
    apply_now(shell)
    assert shell.mail.got("kato-san", "old mail")
    assert shell.mail.messages("kato", PASSWORD_TOO) == []
    assert nothing_differs(shell)


def test_cancelled_change_never_happens(shell: Product) -> None:
    add(shell, "never@sakura.example")
    [line] = lines_of(shell.manage("show_changes"), ["mailbox:never"])
    shell.manage("cancel_change", line.split()[0])
    apply_now(shell)
    assert shell.mail.rcpt("never@sakura.example")[0] == 550
    assert not shell.mail.can_log_in("never")
    assert "Cannot be taken back" in shell.manage("cancel_change", line.split()[0], fails=True)
    # The name is free again, and what the server never saw needs no deletion there.
    add(shell, "never@sakura.example")
    shell.manage("delete_account", "never@sakura.example")
    assert shell.manage("show_changes") == ""


def test_reconcile_finds_and_mends_damage(shell: Product) -> None:
    root = shell.mail.root
    postmap_delete(shell, "aliases", "toharm@sakura.example")
    postmap_delete(shell, "mailboxes", "harm@sakura.example")
    stray = root / "mail" / "ab" / f"ab{uuid4().hex[2:]}"
    (stray / "Maildir").mkdir(parents=True)
    forget_record(shell, "mailbox:mori")
    assert shell.mail.rcpt("toharm@sakura.example")[0] == 550

    found = shell.manage("reconcile", fails=True)
    assert lines_of(found, ["map aliases", "toharm@sakura.example"])
    assert lines_of(found, ["map mailboxes", "harm@sakura.example"])
    assert lines_of(found, ["directory", stray.name])
    assert lines_of(found, ["mailbox:mori: wanted Mailbox", "found nothing"])
    assert not re.search(r"\$6\$|CRYPT", found), "a password hash was printed"

    assert "difference(s) mended." in shell.manage("reconcile", "--repair")
    assert nothing_differs(shell)
    assert not stray.exists()
    shell.mail.deliver("toharm@sakura.example", text="mended")
    assert shell.mail.got("harm", "mended")
    assert shell.mail.can_log_in("mori")


def test_change_that_failed_is_tried_again_and_then_applied(shell: Product) -> None:
    add(shell, "ono@sakura.example")
    shell.mail.stop("dovecot")
    try:
        assert lines_of(shell.manage("check_servers", fails=True), [SERVER, "is not running"])
        assert "1 failed" in shell.manage("apply_changes", "--now", fails=True)
        assert lines_of(shell.manage("show_changes"), ["applying add mailbox:ono", "Dovecot"])
    finally:
        shell.mail.start("dovecot")
    assert f"{SERVER}: works" in shell.manage("check_servers")
    apply_now(shell)
    assert shell.manage("show_changes") == ""
    assert shell.mail.can_log_in("ono")


def postmap_delete(shell: Product, name: str, key: str) -> None:
    """Damage a map: remove a key behind everybody's back."""
    root = shell.mail.root
    table = f"lmdb:{root / 'maps' / name}"
    shell.run("/usr/sbin/postmap", "-c", str(root / "etc" / "postfix"), "-d", key, table)


def forget_record(shell: Product, key: str) -> None:
    """Damage the server's store: lose one record, as an old backup would."""
    path = shell.mail.root / "store" / "mail.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("DELETE FROM record WHERE key = ?", (key,))
