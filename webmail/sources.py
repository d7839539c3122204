"""What this app tells the mail servers, and what it does once they have confirmed it."""

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _

from accounts.models import Domain
from accounts.names import readable_domain
from mailhost import records as recorded
from propagation.models import Change, MailServer, parts
from webmail.models import Webmail


class WebmailSource:
    """Domains that have webmail."""

    kind = "webmail"

    def records(self, server: MailServer) -> Iterator[recorded.Webmail]:
        """Yield a record per domain of this server, without those that are losing it."""
        gone = Change.objects.leaving(server)
        rows = Webmail.objects.filter(domain__server=server).select_related("domain")
        for row in rows.iterator(chunk_size=2000):
            if row.key not in gone:
                yield row.record()

    def record(self, server: MailServer, key: str) -> recorded.Webmail | None:
        """Return the record of one domain."""
        if key in Change.objects.leaving(server, [key]):
            return None
        row = Webmail.objects.filter(domain__name=_name(key), domain__server=server).first()
        return row.record() if row else None

    def restore(self, change: Change) -> None:
        """Let the domain have what its server still has."""
        domain = Domain.objects.get(name=_name(change.key))
        if change.was() is None:
            Webmail.objects.filter(domain=domain).delete()
        else:
            Webmail.objects.get_or_create(domain=domain)

    def check(self, change: Change) -> None:
        """Nothing is left to judge: webmail is in nobody's way."""

    def applied(self, changes: Sequence[Change]) -> None:
        """Remove the rows of those that are gone, unless they are wanted again by now."""
        gone = [change for change in changes if change.removes]
        for some in parts(gone):
            wanted = Change.objects.open().filter(key__in=[change.key for change in some])
            again = set(wanted.filter(after__isnull=False).values_list("key", flat=True))
            names = [_name(change.key) for change in some if change.key not in again]
            Webmail.objects.filter(domain__name__in=names).delete()

    def describe(self, change: Change) -> str:
        """Say what happens to the domain's webmail."""
        name = {"name": readable_domain(_name(change.key))}
        if change.removes:
            return _("Remove the webmail of %(name)s") % name
        return _("Install webmail for %(name)s") % name


def _name(key: str) -> str:
    return key.partition(":")[2]


webmails = WebmailSource()
