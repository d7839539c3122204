"""Write the yearly list for billing."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import translation

from orders import billing


class Command(BaseCommand):
    """`manage.py list_billing YEAR [--output FILE]`, as CSV for Excel."""

    help = "Write the orders granted in a year as CSV (UTF-8), to FILE or to standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the year and where to write."""
        parser.add_argument("year", type=int)
        parser.add_argument("--output", help="a file, written anew")

    def handle(self, *, year: int, output: str | None, **options: Any) -> None:
        """Write it, in the panel's first language like the admin's list."""
        if not billing.FIRST <= year <= billing.LAST:
            raise CommandError(f"No year: {year}")
        with translation.override(settings.LANGUAGE_CODE):
            found = billing.yearly_list(year)
        if output is None:
            # Not self.stdout, which takes text and knows no byte order mark.
            sys.stdout.buffer.write(found)
        else:
            Path(output).write_bytes(found)
