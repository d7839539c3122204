"""Mail goes into an archive and back, by the real Dovecot, and each byte stays what it was."""

from __future__ import annotations

import gzip
import mailbox as mailboxes
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from mailhost import archive
from mailhost.archive import ArchiveError, reading
from mailhost.records import Mailbox
from tests.mail.archives import (
    HOSTILE,
    doveadm,
    inside,
    listed,
    lmtp,
    maildir,
    stored,
    take,
    with_home,
)
from tests.mail.conftest import Site
from tests.mail.mutt import mutt_saw
from tests.servers import REPOSITORY

pytestmark = pytest.mark.servers

MESSAGES = [b"Subject: %d\r\n\r\nmessage %d\r\n" % (n, n) for n in range(5)]


def filled(site: Site) -> Mailbox:
    """Return the site's mailbox, with hostile mail in its inbox and more in other folders."""
    box = site.fixed
    lmtp(site.server, box.address, HOSTILE.values())
    with site.server.imap(box.name) as client:
        client.create("&TtVOiw-.2026")
        client.create('"100% -x"')
        client.append(
            "&TtVOiw-.2026", "(\\Flagged $Work)", '"02-Jan-2020 03:04:05 +0000"', b"a: b\r\n"
        )
        client.append('"100% -x"', "(\\Deleted \\Draft -v Later)", None, b"\r\nTrash\r\n")
        client.select("INBOX")
        client.store("2", "+FLAGS", "(\\Seen \\Answered $Work)")
        client.copy("1", "&TtVOiw-.2026")
    # What no delivery writes, but a restored backup may hold.
    strange = maildir(site.server, box) / "new/1700000000.M1P1.strange"
    strange.write_bytes(b"Subject: no newline at the end\n\nFrom me\r\nto you")
    os.chown(strange, site.server.config.mail_uid, site.server.config.mail_gid)
    os.utime(strange, (1_600_000_000, 1_600_000_000))
    return box


def test_all_comes_back_byte_for_byte_with_folder_flags_and_date(site: Site) -> None:
    home, box, server = with_home(site), filled(site), site.server
    before, told = stored(server, box), listed(server, box)
    assert sum(before.values()) == len(HOSTILE) + 4
    made = take(site, box)
    assert made.messages == len(HOSTILE) + 4
    assert made.mail_bytes == sum(len(data) * n for (_, data), n in before.items())
    assert not stored(server, box)
    assert not listed(server, box)
    file = home / made.file_name
    assert (file.stat().st_size, file.stat().st_mode & 0o7777) == (made.file_bytes, 0o640)
    assert (file.stat().st_uid, file.stat().st_gid) == (5001, 5001)
    assert inside(home) == [made.file_name]
    done = archive.put_back(server.root, made.id)
    assert (done.put, done.already, done.no_room, done.left) == (made.messages, 0, 0, 0)
    assert listed(server, box) == told
    assert stored(server, box) == before


def test_put_back_archived_and_put_back_again_nothing_is_lost_or_doubled(site: Site) -> None:
    with_home(site)
    box, server = filled(site), site.server
    before, told = stored(server, box), listed(server, box)
    first = take(site, box)
    assert archive.put_back(server.root, first.id).put == first.messages
    second = take(site, box)
    assert second.messages == first.messages
    assert second.file_name == first.file_name.replace(".gz", "-2.gz")
    assert archive.put_back(server.root, second.id).put == first.messages
    for made in (first, second):
        done = archive.put_back(server.root, made.id)
        assert (done.put, done.already) == (0, first.messages)
    assert stored(server, box) == before
    assert listed(server, box) == told


def test_chosen_messages_come_back_and_none_twice(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    made = take(site, box)
    assert archive.put_back(server.root, made.id, [2, 4]).put == 2
    assert archive.put_back(server.root, made.id, [4, 5]).already == 1
    subjects = sorted(mail.split(b"Subject: ")[1][:1] for _, mail in stored(server, box))
    assert subjects == [b"1", b"3", b"4"]
    with server.imap(box.name) as client:
        client.create("Moved")
        client.select("INBOX")
        client._simple_command("UID", "MOVE", "1:*", "Moved")
    assert archive.put_back(server.root, made.id, [2, 4]).already == 2
    with pytest.raises(ArchiveError, match="holds no message 6"):
        archive.put_back(server.root, made.id, [6])


def test_deleted_folder_is_made_again(site: Site) -> None:
    with_home(site)
    box, server = filled(site), site.server
    told = listed(server, box)
    made = take(site, box)
    doveadm(server, "mailbox", "delete", "-u", box.name, "仕事.2026")
    archive.put_back(server.root, made.id)
    assert listed(server, box) == told


def test_oldest_go_until_half_is_free(site: Site) -> None:
    with_home(site)
    box = site.mailbox("half", quota_bytes=10_000)
    site.put(box)
    server = site.server
    lmtp(
        server, box.address, [b"Subject: %d\r\n\r\n" % n + b"x" * 1500 + b"\r\n" for n in range(6)]
    )
    for number, path in enumerate(sorted(maildir(server, box).glob("new/*"), key=_subject)):
        moment = 1_700_000_000 + (number * 7 % 6) * 1000
        os.utime(path, (moment, moment))
    made = take(site, box, oldest=True)
    left = sum(int(row[4]) * n for row, n in listed(server, box).items())
    assert left <= 5_000 < left + 1_600
    with archive.open_file(server.root, made.id) as file:
        dates = [entry.date.timestamp() for entry in reading.entries(file)[0] if entry.date]
    assert sorted(dates) == [1_700_000_000 + n * 1000 for n in range(made.messages)]
    with pytest.raises(ArchiveError) as failed:
        take(site, box, oldest=True)
    assert failed.value.code == "nothing_to_take"


def _subject(path: Path) -> bytes:
    return path.read_bytes().partition(b"Subject: ")[2]


def test_only_a_full_mailbox_is_taken_unless_asked_otherwise(site: Site) -> None:
    with_home(site)
    box = site.mailbox("limit", quota_bytes=4_000)
    site.put(box)
    lmtp(site.server, box.address, [b"Subject: 1\r\n\r\n" + b"x" * 1500 + b"\r\n"])
    with pytest.raises(ArchiveError) as failed:
        take(site, box, require_full=True)
    assert failed.value.code == "nothing_to_take"
    lmtp(site.server, box.address, [b"Subject: 2\r\n\r\n" + b"x" * 2200 + b"\r\n"])
    assert take(site, box, require_full=True).messages == 2


def test_mailbox_that_was_never_used_has_nothing_to_take(site: Site) -> None:
    with_home(site)
    box = site.mailbox("unused")
    site.put(box)
    with pytest.raises(ArchiveError) as failed:
        take(site, box)
    assert failed.value.code == "nothing_to_take"


def test_putting_back_never_passes_the_limit(site: Site) -> None:
    with_home(site)
    box = site.mailbox("room", quota_bytes=0)
    site.put(box)
    text = b"Subject: %d\r\n\r\n" + b"line\r\n" * 200
    lmtp(site.server, box.address, [text % n for n in range(8)])
    made = take(site, box)
    size = sum(int(row[4]) * n for row, n in listed(site.server, box).items())
    assert size == 0
    site.put(site.mailbox("room", mailbox_id=box.mailbox_id, quota_bytes=7_000))
    done = archive.put_back(site.server.root, made.id)
    used = sum(int(row[4]) * n for row, n in listed(site.server, box).items())
    assert done.put + done.no_room == 8
    assert 7_000 - 1_500 < used <= 7_000
    assert archive.put_back(site.server.root, made.id).already == done.put


def test_every_program_reads_an_archive(site: Site, tmp_path: Path) -> None:
    home, box = with_home(site), filled(site)
    made = take(site, box)
    subprocess.run(["gzip", "-t", home / made.file_name], check=True)
    plain = tmp_path / "mbox"
    with gzip.open(home / made.file_name) as file:
        plain.write_bytes(file.read())
    with closing(mailboxes.mbox(plain, create=False)) as found:
        assert len(found) == made.messages
        folders = Counter(str(message["X-Folder"]) for message in found)
    assert (folders["INBOX"], folders["100%25 -x"]) == (len(HOSTILE) + 1, 1)
    pieces = mutt_saw(str(plain), tmp_path)
    assert len(pieces) == made.messages
    assert sum(b"to you" in piece for piece in pieces) == 1


def test_new_mail_stays_and_what_the_client_deletes_is_not_missed(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    seen: list[int] = []

    def meanwhile(done: int, _total: int) -> None:
        seen.append(done)
        if done == 2:
            client = server.pop3(box.name)
            client.dele(1)
            client.dele(4)
            client.quit()
            lmtp(server, box.address, [b"Subject: late\r\n\r\nlate\r\n"])

    made = archive.take(server.root, box.name, require_full=False, progress=meanwhile)
    assert seen == [1, 2, 3, 4, 5]
    assert made.messages == 4
    [(_, left)] = stored(server, box)
    assert b"late" in left


def test_mailbox_made_anew_loses_no_other_mail(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)

    def meanwhile(done: int, _total: int) -> None:
        if done == 5:
            # As after a restored backup: Dovecot numbers all messages anew.
            for path in maildir(server, box).glob("dovecot*"):
                path.unlink()
            lmtp(server, box.address, [b"Subject: late\r\n\r\nlate\r\n"])

    made = archive.take(server.root, box.name, require_full=False, progress=meanwhile)
    assert made.messages == 5
    [(_, left)] = stored(server, box)
    assert b"late" in left


def test_one_is_at_work_on_an_account_at_a_time(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    codes = []

    def meanwhile(_done: int, _total: int) -> None:
        with pytest.raises(ArchiveError) as failed:
            take(site, box)
        codes.append(failed.value.code)
        assert archive.finish(server.root) == []

    archive.take(server.root, box.name, require_full=False, progress=meanwhile)
    assert codes == ["busy"] * 5


def test_account_deleted_meanwhile_keeps_its_mail_in_the_archive_alone(site: Site) -> None:
    with_home(site)
    box, server = site.mailbox("gone"), site.server
    site.put(box)
    lmtp(server, box.address, MESSAGES)

    def meanwhile(done: int, _total: int) -> None:
        if done == 5:
            site.delete(box)

    made = archive.take(server.root, box.name, require_full=False, progress=meanwhile)
    assert made.messages == 5
    assert archive.finish(server.root) == []
    site.put(box)  # Brought back from the trash, with all its mail.
    assert sum(stored(server, box).values()) == 5
    assert [
        item.id for item in archive.finish(server.root) if isinstance(item, archive.Archive)
    ] == [made.id]
    assert not stored(server, box)
    assert archive.finish(server.root) == []


def test_archives_are_told_looked_for_and_removed(site: Site) -> None:
    home, box, server = with_home(site), site.fixed, site.server
    _, cursor = archive.news(server.root, "")
    while archive.news(server.root, cursor)[0]:
        _, cursor = archive.news(server.root, cursor)
    lmtp(server, box.address, MESSAGES)
    made = take(site, box)
    told, cursor = archive.news(server.root, cursor)
    assert told == [made] == archive.archives(server.root, box.name)
    assert (archive.verify(server.root), archive.news(server.root, cursor)) == (0, ([], cursor))
    (home / made.file_name).rename(home / "mine")
    assert archive.verify(server.root) == 1
    [gone], cursor = archive.news(server.root, cursor)
    assert (gone.id, gone.state) == (made.id, "gone")
    with pytest.raises(ArchiveError) as failed:
        archive.put_back(server.root, made.id)
    assert failed.value.code == "no_archive"
    (home / "mine").rename(home / made.file_name)
    assert archive.verify(server.root) == 0
    assert archive.put_back(server.root, made.id).put == 5
    again = take(site, box)
    archive.remove(server.root, made.id)
    archive.remove(server.root, made.id)
    assert inside(home) == [again.file_name]
    assert archive.verify(server.root) == 0
    states = {item.id: item.state for item in archive.archives(server.root, box.name)}
    assert states == {made.id: "removed", again.id: "kept"}


def test_changed_archive_is_not_put_back(site: Site) -> None:
    home, box, server = with_home(site), site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    made = take(site, box)
    data = bytearray((home / made.file_name).read_bytes())
    data[-5] ^= 1
    (home / made.file_name).write_bytes(data)
    with pytest.raises(ArchiveError) as failed:
        archive.put_back(server.root, made.id)
    assert failed.value.code == "archive_changed"
    assert not stored(server, box)


def test_without_dovecot_nothing_is_taken(site: Site) -> None:
    home, box, server = with_home(site), site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    before = stored(server, box)
    server.stop("dovecot")
    try:
        with pytest.raises(ArchiveError) as failed:
            take(site, box)
        assert failed.value.code == "server_down"
    finally:
        server.start("dovecot")
    assert stored(server, box) == before
    assert not inside(home)


def test_command_line_does_it_all(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "mailhost", "--root", str(server.root), "archive"]
        done = subprocess.run(
            [*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    code, text = run("take", box.name, "--if-full")
    assert (code, "is not full" in text) == (1, True)
    code, text = run("take", box.name)
    assert code == 0
    assert text.startswith(f"{box.name}: 5 messages, ")
    [made] = archive.archives(server.root, box.name)
    number = str(made.id)
    assert made.file_name in run("list", box.name)[1]
    assert run("show", number)[1].count("INBOX") == 5
    assert "message 3" in run("show", number, "4")[1]
    assert run("put-back", number, "1", "3-4")[1].startswith("3 put back, 0 were")
    assert run("put-back", number)[1].startswith("2 put back, 3 were")
    assert run("put-back", number, "0")[0] == 2
    assert run("finish") == (0, "")
    assert run("remove", number) == (0, f"Archive {number} is removed.\n")
    assert run("show", number)[0] == 1
