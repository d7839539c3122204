"""Take over whose copies of mailing lists came back, as the mail servers counted them.

It may run twice or late: what is newer than what is known is written again. Nobody is removed by
it; the list's owner sees it, and decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import reduce
from operator import or_

from django.db.models import Q

from forwarding.models import Member
from mailhost.lists import bounces
from mailhost.lists.bounces import Bounced
from propagation.models import MailServer, parts


def collect(server: MailServer) -> int:
    """Take over one server's news; return for how many members there were some.

    Raises NotHere on a machine without this server, and HostError if the lists' daemon's
    database cannot be read.
    """
    with server.host() as host:
        root = host.root
    known = Member.objects.filter(
        mailing_list__domain__server=server, came_back_at__isnull=False
    ).order_by("-came_back_at")
    newest = known.values_list("came_back_at", flat=True).first()
    news = bounces.read(root, int(newest.timestamp()) if newest else 0)
    return sum(_write(server, some) for some in parts(news, 500))


def _write(server: MailServer, news: Iterable[Bounced]) -> int:
    by_list: dict[str, list[str]] = {}
    for one in news:
        by_list.setdefault(one.list, []).append(one.member)
    of_lists = (
        Q(
            mailing_list__local_part=address.rpartition("@")[0],
            mailing_list__domain__name=address.rpartition("@")[2],
            lowered__in=addresses,
        )
        for address, addresses in by_list.items()
    )
    present = Member.objects.filter(reduce(or_, of_lists), mailing_list__domain__server=server)
    rows = {
        (row.mailing_list.address, row.lowered): row
        for row in present.filter(left_at=None).select_related("mailing_list__domain")
    }
    changed = []
    for one in news:
        row, at = rows.get((one.list, one.member)), datetime.fromtimestamp(one.last_at, UTC)
        # What came back before he joined was not his.
        if row is None or one.last_at < int(row.joined_at.timestamp()):
            continue
        if (row.came_back, row.came_back_at) != (one.count, at):
            row.came_back, row.came_back_at = one.count, at
            changed.append(row)
    Member.objects.bulk_update(changed, ["came_back", "came_back_at"])
    return len(changed)
