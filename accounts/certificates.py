"""Certificates of hosted domains: put in place on the server, remembered for the pages."""

from accounts.models import Domain
from mailhost.host import Busy
from propagation.models import MailServer


def install(server: MailServer) -> dict[str, str]:
    """Bring into service what an ACME client left on this server; return troubles by domain.

    Safe to repeat. Raises NotHere on a machine without this server.
    """
    try:
        with server.host() as host, host.lock():
            states = host.install_certificates()
    except Busy:
        return {}
    for domain in Domain.objects.filter(server=server):
        state = states.get(domain.name)
        until = state.not_after if state else None
        trouble = (state.problem if state else "")[:200]
        if (domain.certificate_until, domain.certificate_trouble) != (until, trouble):
            Domain.objects.filter(pk=domain.pk).update(
                certificate_until=until, certificate_trouble=trouble
            )
    return {name: state.problem for name, state in states.items() if state.problem}
