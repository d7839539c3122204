"""Imports: the dry run, and the work in the background.

The dry run writes the file's rows down with what would come of each. Once confirmed, a worker
does them in portions, each one transaction under the lock of every edit: rows of a portion are
judged again, those that still pass are written together, and each is noted as done. Whoever is
killed leaves whole portions; two workers at one import take turns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils import translation
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from accounts import passwords
from accounts.models import NAME_TAKEN, Domain
from bulk.files import Table, read
from bulk.kinds import KINDS, Batch
from bulk.models import WORK, Import, ImportKind, ImportRow, ImportState, Outcome
from bulk.sealing import new_seed, opened
from history.acting import Actor, Hand, acting, of_login, present
from history.models import Entry
from propagation.models import one_at_a_time

_log = logging.getLogger(__name__)

#: Bytes and rows that are read at a time.
MOST_BYTES = 8 * 1024 * 1024
MOST_ROWS = 10_000
#: A hash of a password that somebody chose takes some 15 ms, which the page waits for.
MOST_PASSWORDS = 200
#: Other edits wait while a portion is written.
PORTION = 200


def check(domain: Domain, kind: ImportKind, content: bytes, *, file_name: str, by: Any) -> Import:
    """Do a dry run: write down the rows of a file, and what would come of each.

    An earlier file of the same kind that was not confirmed is forgotten. Raises ValidationError,
    in words for the customer, where the file cannot be read.
    """
    columns = KINDS[kind]
    table = read(content, columns.names(), needed=columns.columns[0], most=MOST_ROWS)
    rows = [
        ImportRow(
            number=line.number,
            cells={column: cells for column, cells in line.cells.items() if column != "password"},
        )
        for line in table.lines
    ]
    _read_passwords(table, rows)
    _judge(columns.batch(domain, rows), rows)
    with transaction.atomic():
        domain.imports.filter(kind=kind, state=ImportState.CHECKED).delete()
        job = Import.objects.create(
            domain=domain, kind=kind, file_name=file_name[:120], unread=table.unread, asked_by=by
        )
        for row in rows:
            row.job = job
            row.done = row.outcome not in WORK
        ImportRow.objects.bulk_create(rows, batch_size=500)
    return job


def confirm(job: Import, *, by: Any) -> bool:
    """Let a checked import begin; False where somebody was quicker."""
    with transaction.atomic():
        if not job.confirm():
            return False
        seed = new_seed() if job.left().filter(generated=True).exists() else ""
        who = present(by)
        Import.objects.filter(pk=job.pk).update(
            asked_by=by, asked_from=who.address, sealed_seed=seed
        )
        Entry.objects.note(
            "csv.import",
            subject=job.file_name,
            domain=job.domain.name,
            values={"kind": job.kind, "rows": job.left().count()},
            by=by,
        )
        # No partial: where the broker is down, Django says what failed by a function's name.
        transaction.on_commit(lambda: send(job.pk), robust=True)
    return True


def send(import_id: int) -> None:
    """Let a worker go on with an import."""
    from bulk.tasks import do_import

    do_import.apply_async(args=(import_id,), expires=600)


def work(job: Import, *, seconds: float) -> bool:
    """Do what is left of an import, for so long at most; return whether it has ended."""
    end = time.monotonic() + seconds
    while job.state == ImportState.RUNNING and time.monotonic() < end:
        Import.objects.filter(pk=job.pk).update(touched_at=now())
        rows = list(job.left()[:PORTION])
        if not rows:
            job.end()
            return True
        _hash_generated(job, rows)
        try:
            _do(job, rows)
        except (DatabaseError, ValueError):
            _log.exception("import %s: a portion failed", job.pk)
            _do_one_by_one(job, rows)
    return job.state != ImportState.RUNNING


def new_passwords(job: Import) -> list[tuple[str, str]]:
    """Return the accounts whose passwords were made here, with these, once; [] ever after."""
    ended = Import.objects.filter(pk=job.pk, state=ImportState.DONE).exclude(sealed_seed="")
    seed = opened(job.sealed_seed)
    if seed is None:
        return []
    with transaction.atomic():
        if not ended.update(sealed_seed="", passwords_taken_at=now()):
            return []
        made = job.rows.filter(generated=True, outcome=Outcome.ADD)
        told = [(row.subject, _password(seed, row)) for row in made]
        name = job.domain.name
        Entry.objects.note(
            "csv.passwords", subject=job.file_name, domain=name, values={"rows": len(told)}
        )
        return told


def _do(job: Import, rows: Sequence[ImportRow]) -> None:
    """Import some rows in one transaction, those that were not done meanwhile."""
    with transaction.atomic():
        one_at_a_time()
        domain = Domain.objects.select_related(*_RELATED).get(pk=job.domain_id)
        left = set(job.left().filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
        mine = [row for row in rows if row.pk in left]
        batch = KINDS[job.kind].batch(domain, mine)
        _judge(batch, mine)
        with acting(_who(job)):
            batch.save(by=job.asked_by)
        _note_done(job, mine)


def _who(job: Import) -> Actor:
    """Return who confirmed an import: it is their hand, not the worker's."""
    if job.asked_by is None:
        return Actor(Hand.OPERATOR)
    return of_login(job.asked_by, job.asked_from)


def _note_done(job: Import, rows: Sequence[ImportRow]) -> None:
    """Write down what came of rows; what they held that is secret is the accounts' now."""
    for outcome in Outcome:
        keys = [row.pk for row in rows if row.outcome == outcome]
        job.rows.filter(pk__in=keys).update(outcome=outcome, done=True, password_hash="")
    for row in rows:
        if row.outcome == Outcome.REFUSED:
            row.save(update_fields=["reasons"])


_FAILED = gettext_noop("This row could not be imported. We will look into it.")
_RELATED = ("customer", "plan", "server", "fixed_account__domain")


def _do_one_by_one(job: Import, rows: Sequence[ImportRow]) -> None:
    """Import rows each for itself, where they could not be imported together."""
    for row in rows:
        alone = list(job.left().filter(pk=row.pk))
        _hash_generated(job, alone)
        try:
            _do(job, alone)
        except (DatabaseError, ValueError):
            _log.exception("import %s: row %s failed", job.pk, row.number)
            reasons = _in_each_language(_FAILED)
            job.left().filter(pk=row.pk).update(
                done=True, outcome=Outcome.REFUSED, reasons=reasons, password_hash=""
            )


def _judge(batch: Batch, rows: Sequence[ImportRow]) -> None:
    """Let each row know what comes of it, and why where that is nothing."""
    for row in rows:
        if row.outcome == Outcome.REFUSED:
            continue
        try:
            row.outcome = batch.take(row)
        except ValidationError:
            # Asked again before anything of the row is changed: it is to be refused again.
            row.reasons = _reasons(batch, row)
            row.outcome = Outcome.REFUSED
            row.subject = row.subject or _typed(row)


def _reasons(batch: Batch, row: ImportRow) -> dict[str, str]:
    """Return why a row is refused, in each language: it is asked again, which changes nothing."""
    reasons = {}
    for language, _words in settings.LANGUAGES:
        with translation.override(language):
            try:
                batch.take(row)
            except ValidationError as error:
                reasons[language] = " ".join([*error.messages, *_ways_out(error)])
    return reasons


def _ways_out(error: ValidationError) -> list[str]:
    """Return what to do about it, where the reason alone does not say so."""
    if any(one.code == NAME_TAKEN for one in error.error_list):
        return [
            _(
                "Somebody on the server has this name. The User Manager offers a way: a mailbox of "
                "another name, and the address you want leading to it."
            )
        ]
    return []


def _in_each_language(text: str) -> dict[str, str]:
    found = {}
    for language, _words in settings.LANGUAGES:
        with translation.override(language):
            found[language] = _(text)
    return found


def _typed(row: ImportRow) -> str:
    """Return what a row seems to be about."""
    cells = next(iter(row.cells.values()), [""])
    return str(cells[0])[:320]


def _read_passwords(table: Table, rows: Sequence[ImportRow]) -> None:
    """Note the passwords that the file names, which are not stored."""
    for line, row in zip(table.lines, rows, strict=True):
        # As it is: an apostrophe or a full-width letter may be meant.
        row.typed_password = "".join(line.cells.get("password", []))
    count = sum(bool(row.typed_password) for row in rows)
    if count > MOST_PASSWORDS:
        raise ValidationError(
            _(
                "The file names %(count)s passwords. At most %(most)s are taken at a time; leave "
                "the cells empty, and we make a password for each new account."
            )
            % {"count": f"{count:,}", "most": f"{MOST_PASSWORDS:,}"},
            code="passwords",
        )


def _hash_generated(job: Import, rows: Sequence[ImportRow]) -> None:
    """Give the accounts that come without a password one that is made here."""
    seed = opened(job.sealed_seed) if job.sealed_seed else None
    for row in rows:
        if row.generated:
            # Without the seed nobody will know it: the account gets another in User Manager.
            password = _password(seed, row) if seed else passwords.generate()
            row.password_hash = passwords.quick_hash(password)


def _password(seed: bytes, row: ImportRow) -> str:
    return passwords.derived(seed, str(row.pk))
