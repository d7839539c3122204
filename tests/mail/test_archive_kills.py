"""A job killed between any two steps is finished, or has changed nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mailhost import archive
from mailhost.archive import Archive, ArchiveError
from tests.mail.archives import inside, listed, lmtp, maildir, stored, take, with_home
from tests.mail.conftest import Site
from tests.servers import REPOSITORY

pytestmark = pytest.mark.servers

MESSAGES = [b"Subject: %d\r\n\r\nmessage %d\r\n" % (n, n) for n in range(5)]
#: Runs a job that kills itself at an instant.
_JOB = """
import os, sys
from pathlib import Path
from mailhost import archive
from mailhost.archive.putting import Putting
from mailhost.archive.taking import Taking

root, instant, job, argument = Path(sys.argv[1]), *sys.argv[2:]

def at(now):
    if now == instant:
        os.kill(os.getpid(), 9)

for kind in (Taking, Putting):
    kind.__init__ = (lambda begin: lambda self, server: begin(self, server, at))(kind.__init__)
if job == "take":
    archive.take(root, argument, require_full=False)
elif job == "finish":
    archive.finish(root)
else:
    archive.put_back(root, int(argument))
"""


def killed(site: Site, instant: str, job: str, argument: str = "") -> None:
    """Run a job that is killed at this instant, which it has to come to."""
    command = [sys.executable, "-c", _JOB, str(site.server.root), instant, job, argument]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def finished(site: Site) -> list[Archive]:
    """Finish what was killed; it has to succeed, and a second time has to find nothing."""
    found = archive.finish(site.server.root)
    assert archive.finish(site.server.root) == []
    assert not [item for item in found if isinstance(item, ArchiveError)]
    return [item for item in found if isinstance(item, Archive)]


EARLY = ("begun", "made", "message", "compressed")
LATE = ("written", "named", "linked", "published", "kept", "expunged")


@pytest.mark.parametrize("instant", EARLY)
def test_killed_before_its_file_is_on_record_nothing_has_happened(site: Site, instant: str) -> None:
    home, box = with_home(site), site.fixed
    lmtp(site.server, box.address, MESSAGES)
    before = stored(site.server, box)
    killed(site, instant, "take", box.name)
    assert len(inside(home)) == (instant != "begun")
    assert finished(site) == []
    assert inside(home) == []
    assert stored(site.server, box) == before
    assert take(site, box).messages == 5


@pytest.mark.parametrize("instant", LATE)
def test_killed_later_it_is_finished(site: Site, instant: str) -> None:
    home, box, server = with_home(site), site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    told = listed(server, box)
    killed(site, instant, "take", box.name)
    lmtp(server, box.address, [b"Subject: late\r\n\r\nlate\r\n"])
    if instant in ("written", "named", "linked", "published"):
        killed(site, "kept", "finish")
    [made] = finished(site)
    assert (made.messages, made.state) == (5, "kept")
    assert inside(home) == [made.file_name]
    [(_, left)] = stored(server, box)
    assert b"late" in left
    archive.put_back(server.root, made.id)
    assert listed(server, box) >= told


def test_file_deleted_after_a_kill_leaves_the_mail(site: Site) -> None:
    home, box = with_home(site), site.fixed
    lmtp(site.server, box.address, MESSAGES)
    before = stored(site.server, box)
    for instant in ("written", "linked", "kept"):
        killed(site, instant, "take", box.name)
        for name in inside(home):
            (home / name).unlink()
        [error] = archive.finish(site.server.root)
        assert isinstance(error, ArchiveError)
        assert error.code == "archive_changed"
        assert finished(site) == []
        assert stored(site.server, box) == before
    [gone] = archive.archives(site.server.root, box.name)
    assert gone.state == "gone"


def test_file_exchanged_after_a_kill_leaves_the_mail(site: Site) -> None:
    home, box = with_home(site), site.fixed
    lmtp(site.server, box.address, MESSAGES)
    before = stored(site.server, box)
    for instant in ("written", "linked", "kept"):
        killed(site, instant, "take", box.name)
        for name in inside(home):
            path = home / name
            path.write_bytes(b"\0" * path.stat().st_size)
        [error] = archive.finish(site.server.root)
        assert isinstance(error, ArchiveError)
        assert stored(site.server, box) == before


def test_the_next_job_finishes_the_killed_one(site: Site) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    killed(site, "kept", "take", box.name)
    lmtp(server, box.address, MESSAGES[:2])
    assert take(site, box).messages == 2
    assert sorted(item.messages for item in archive.archives(server.root, box.name)) == [2, 5]


@pytest.mark.parametrize("instant", ["recorded", "written", "placed"])
@pytest.mark.parametrize("then", ["again", "finish", "remove"])
def test_killed_while_putting_back_each_message_is_there_once(
    site: Site, instant: str, then: str
) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(server, box.address, MESSAGES)
    with server.imap(box.name) as client:
        client.select("INBOX")
        client.store("1:2", "+FLAGS", "($Work \\Seen)")
        client.create("Folder")
        client.copy("2:3", "Folder")
    before, told = stored(server, box), listed(server, box)
    made = take(site, box)
    killed(site, instant, "put_back", str(made.id))
    if then == "remove":
        archive.remove(server.root, made.id)
        assert stored(server, box) <= before
    elif then == "finish":
        assert finished(site) == []
        assert listed(server, box) <= told
    if then != "remove":
        archive.put_back(server.root, made.id)
        assert stored(server, box) == before
        assert listed(server, box) == told
    assert not list(maildir(server, box).glob("**/tmp/*"))


def test_full_disk_of_the_mail(site: Site, tmp_path: Path) -> None:
    with_home(site)
    box, server = site.fixed, site.server
    lmtp(
        server,
        box.address,
        [b"Subject: %d\r\n\r\n" % n + b"x" * 50_000 + b"\r\n" for n in range(9)],
    )
    before = stored(server, box)
    made = take(site, box)
    owner = f"uid={server.config.mail_uid},gid={server.config.mail_gid},mode=700"
    place = maildir(server, box)
    command = ["mount", "-t", "tmpfs", "-o", f"size=300k,{owner}", "none", str(place)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(ArchiveError) as failed:
            archive.put_back(server.root, made.id)
        assert failed.value.code == "no_room"
        assert not list(place.glob("**/tmp/*"))
        assert stored(server, box) <= before
        subprocess.run(["mount", "-o", "remount,size=10m", str(place)], check=True)
        archive.put_back(server.root, made.id)
        assert stored(server, box) == before == Counter(before)
    finally:
        subprocess.run(["umount", "-q", "-l", str(place)], check=False)
