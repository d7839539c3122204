"""Whether a mail server works, as its own machine sees it."""

from django.utils.timezone import now

from mailhost import instance
from propagation.models import MailServer, NotHere


def report_in(server: MailServer) -> str:
    """Ask each of its servers for an answer, note the trouble, and return it.

    "" means that all answered: `seen_at` tells when they last did. Raises NotHere on a
    machine without this server.
    """
    root = server.host().root
    found = {part: instance.problem_of(root, part) for part in instance.SERVERS}
    trouble = "; ".join(f"{part} {problem}" for part, problem in found.items() if problem)
    answered = {} if trouble else {"seen_at": now()}
    MailServer.objects.filter(pk=server.pk).update(trouble=trouble[:500], **answered)
    return trouble


def report_all() -> dict[str, str]:
    """Report on every server of this machine; "" stands for a working one."""
    found = {}
    for server in MailServer.objects.all():
        try:
            found[server.name] = report_in(server)
        except NotHere:
            continue
    return found
