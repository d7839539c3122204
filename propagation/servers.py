"""What commands about mail servers share: which servers an operator meant."""

from django.core.management.base import CommandError

from propagation.models import MailServer


def chosen_servers(names: list[str]) -> list[MailServer]:
    """Return the named servers, or all; CommandError names the unknown ones."""
    servers = MailServer.objects.order_by("name")
    if names:
        servers = servers.filter(name__in=names)
        if unknown := set(names) - {server.name for server in servers}:
            raise CommandError(f"No such mail server: {', '.join(sorted(unknown))}")
    return list(servers)
