"""Take changes back while they wait: the object returns to what the server holds."""

import uuid
from collections.abc import Iterable

from django.db import transaction

from history.acting import present
from history.models import Entry
from propagation.models import Change, ChangeState, TooLate, one_at_a_time
from propagation.sources import source_of, sources
from propagation.told import taken_back


def with_dependents(changes: Iterable[Change]) -> list[Change]:
    """Return `changes` and every pending change that needs what one of them creates."""
    found = {change.pk: change for change in changes}
    fresh = list(found.values())
    while fresh:
        created = [change for change in fresh if change.creates]
        fresh = [
            dependent
            for change in created
            for dependent in Change.objects.needing(change)
            if dependent.pk not in found
        ]
        found |= {change.pk: change for change in fresh}
    return list(found.values())


def cancel(changes: Iterable[Change]) -> list[Change]:
    """Cancel these pending changes, and what depends on them; return all that were.

    Raises TooLate when one of them is no longer pending, and ValidationError when
    the object may not return to what it was; nothing is cancelled then.
    """
    kinds = list(sources())
    with transaction.atomic():
        one_at_a_time()
        doomed = with_dependents(changes)
        # Addresses before the mailboxes they lead to, mailboxes before their domain.
        doomed.sort(key=lambda change: (-kinds.index(change.key.partition(":")[0]), change.pk))
        for change in doomed:
            if not Change.objects.pending().filter(pk=change.pk).end(ChangeState.CANCELLED):
                raise TooLate
        actor = present()
        told = [taken_back(change.key, change.domain, actor) for change in doomed]
        Entry.objects.note_many(entry for entry in told if entry)
        for change in doomed:
            source_of(change.key).restore(change)
        for change in doomed:
            source_of(change.key).check(change)
    return doomed


def group_of(group: uuid.UUID) -> list[Change]:
    """Return the pending changes that were asked for together."""
    return list(Change.objects.pending().filter(group=group))
