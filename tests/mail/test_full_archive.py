"""From full to receiving again: what the Wednesday job does for one mailbox, from end to end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mailhost import archive
from mailhost.records import HostedDomain
from mailhost.usage import figures
from mailhost.usage.waiting import waiting
from tests.mail.conftest import Site, applied
from tests.mail.test_full import becomes, fill, send, small
from tests.servers import MailServer, wait_for

pytestmark = pytest.mark.servers


def test_a_mailbox_filled_by_deliveries_alone_takes_mail_again_when_it_was_archived(
    server: MailServer, site: Site
) -> None:
    home = HostedDomain(site.domain, site.fixed.address, home=site.fixed.name)
    assert applied(site.put(home))
    box = small(site, "box")
    fill(server, box)
    assert server.rcpt(box.address)[0] == 552
    assert box.name in {known.account for known in figures.full(server.root)}
    held = len(server.messages(box.name))
    # A copy beside others waits for the job.
    assert applied(site.put(site.address("both", site.fixed.address, box.address)))
    send(server, site.at("both"))
    assert wait_for(lambda: [copy for copy in waiting(server.root) if copy.account == box.name])
    taken = archive.take(server.root, box.name)
    assert taken.messages == held
    assert becomes(server, box.name, full=False)
    assert server.rcpt(box.address)[0] == 250
    assert wait_for(lambda: len(server.messages(box.name)) == 1, 20), server.logs()
    server.deliver(box.address, text="after Wednesday")
    assert server.got(box.name, "after Wednesday")
    (file,) = Path(server.root / "homes").rglob(taken.file_name)
    assert gzip.decompress(file.read_bytes()).count(b"\nSubject: large\n") == held
