"""Take a pending change back."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from propagation.cancel import cancel, group_of
from propagation.models import Change, ChangeState, TooLate


class Command(BaseCommand):
    """`manage.py cancel_change NUMBER`."""

    help = "Take a pending change back, with everything that was asked for together with it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the number that show_changes prints."""
        parser.add_argument("number", type=int)

    def handle(self, *, number: int, **options: Any) -> None:
        """Cancel it, or say why not."""
        change = Change.objects.filter(pk=number).first()
        if change is None:
            raise CommandError(f"No such change: {number}")
        if change.state != ChangeState.PENDING:
            raise CommandError("Cannot be taken back: it has ended or is being applied.")
        try:
            gone = cancel(group_of(change.group))
        except (TooLate, ValidationError) as error:
            words = getattr(error, "messages", ["it is being applied, or has ended"])
            raise CommandError(f"Cannot be taken back: {' '.join(words)}") from error
        self.stdout.write(f"Taken back: {', '.join(one.key for one in gone)}")
