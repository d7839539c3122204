"""Archive full mailboxes: the Wednesday job for cron, and whenever the operator wants it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from accounts.models import accounts_by_address
from mailhost.errors import HostError
from propagation.models import MailServer, NotHere
from propagation.servers import chosen_servers
from quota.archiving import weekly
from quota.archiving.weekly import Step
from quota.models import ArchiveRun
from quota.words import bytes_of

_WIDTH = 24


class Command(BaseCommand):
    """`manage.py archive_overquota [--server NAME] [--account NAME@DOMAIN] [--dry-run]`."""

    help = (
        "Archive the mail of full mailboxes on the servers of this machine. Without --account or "
        "a choice of mail the first time since Wednesday 4:00 it is the week's run; cron calls it "
        "so. Exits with 1 when a mailbox could not be archived."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is to be archived."""
        parser.add_argument(
            "--server", action="append", default=[], help="host name (default: all of this machine)"
        )
        parser.add_argument(
            "--account", action="append", default=[], metavar="NAME@DOMAIN", help="only this one"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be archived")
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--oldest", action="store_true", default=None, help="only until half of it is free"
        )
        which.add_argument(
            "--all-mail", action="store_false", dest="oldest", help="all mail, whatever was chosen"
        )

    def handle(
        self,
        *,
        server: list[str],
        account: list[str],
        dry_run: bool,
        oldest: bool | None,
        **options: Any,
    ) -> None:
        """Do it on each server; what cannot be done on one keeps no other."""
        accounts = _names_by_server(account)
        problems = []
        for one in chosen_servers(server):
            if account and one.pk not in accounts:
                continue
            try:
                problems += self._on(one, accounts.get(one.pk), dry_run, oldest)
            except NotHere as error:
                if server or account:
                    raise CommandError(str(error)) from error
            except HostError as error:
                problems.append(f"{one}: {error}")
        if problems:
            raise CommandError("\n".join(problems))

    def _on(
        self, server: MailServer, accounts: list[str] | None, dry_run: bool, oldest: bool | None
    ) -> list[str]:
        """Do one server; return what went wrong."""
        if dry_run:
            self._announce(server, accounts)
            return []
        run = None
        if accounts is None and oldest is None:
            run = weekly.run_week(server, tell=self._tell)
        run = run or weekly.run_now(server, accounts=accounts, oldest=oldest, tell=self._tell)
        if run is None:
            return [f"{server}: another process is archiving there"]
        return self._report(server, run)

    def _announce(self, server: MailServer, accounts: list[str] | None) -> None:
        full = weekly.full_mailboxes(server, accounts)
        for one in full:
            words = f"{one.account}@{one.domain}: {one.messages} messages, {_size(one.used)}"
            self.stdout.write(words)
        total = _size(sum(one.used for one in full))
        self.stdout.write(f"{server}: {len(full)} full, {total}; nothing was changed (--dry-run)")

    def _tell(self, step: Step) -> None:
        """Show how far it is: a bar at a terminal, a line per mailbox elsewhere."""
        result = step.result
        if result.code:
            became = f"{result.code}: {result.trouble}"
        else:
            became = f"{result.messages} messages, {_size(result.mail_bytes)}"
        line = f"{result.address}: {became}"
        if not sys.stdout.isatty():
            self.stdout.write(line)
            return
        if result.failed:
            self.stdout.write(f"\r\033[K{line}")
        filled = _WIDTH * step.number // step.of
        bar = "#" * filled + "." * (_WIDTH - filled)
        self.stdout.write(f"\r\033[K[{bar}] {step.number}/{step.of} {line[:48]}", ending="")
        if step.number == step.of:
            self.stdout.write("")

    def _report(self, server: MailServer, run: ArchiveRun) -> list[str]:
        sums = run.sums()
        self.stdout.write(
            f"{server}: {run.found} full, {sums['done']} archived, {sums['failed']} not; "
            f"{sums['messages']} messages, {_size(sums['mail_bytes'])}, {run.seconds or 0:.1f} s"
        )
        failed = run.results.failed()
        return [f"{one.address}: {one.code}: {one.trouble}" for one in failed]


def _size(count: int) -> str:
    """Return a number of bytes in the language of all that a terminal is told."""
    with translation.override("en"):
        return bytes_of(count)


def _names_by_server(addresses: list[str]) -> dict[int, list[str]]:
    """Return the names of the accounts that are meant, by the key of their server."""
    found = accounts_by_address(addresses)
    if unknown := set(addresses) - found.keys():
        raise CommandError(f"No such account: {', '.join(sorted(unknown))}")
    by_server: dict[int, list[str]] = {}
    for account in found.values():
        by_server.setdefault(account.server_id, []).append(account.name)
    return by_server
