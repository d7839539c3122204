"""What can be exported and imported: accounts, and forwarding addresses. One class for each.

A kind knows its columns, and what a row asks for; the rules themselves are those of
accounts.many and forwarding.many.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from django.utils import translation
from django.utils.translation import gettext as _

from accounts import names, passwords
from accounts.many import ManyAccounts
from accounts.models import Account, Domain
from bulk.files import fits, heading, plain
from bulk.models import ImportKind, ImportRow, Outcome
from forwarding.addresses import clean_destinations, clean_local_part
from forwarding.many import ManyForwards
from forwarding.models import Destination
from propagation.models import Change

# What stands in a cell for a switch; Japanese spreadsheets often have signs for it.
_ON = {"on", "yes", "true", "1", "○", "◯", "〇", "はい", "有", "有効", "オン"}
_OFF = {"off", "no", "false", "0", "×", "✕", "いいえ", "無", "無効", "オフ"}
_BETWEEN = re.compile(r"[\s,;、，；]+")


class Batch(ABC):
    """Rows that are judged one after the other, each as if those before it were done."""

    def __init__(self, domain: Domain) -> None:
        """Take the domain that all rows are about."""
        self.domain = domain
        self._seen: set[str] = set()

    @abstractmethod
    def take(self, row: ImportRow) -> Outcome:
        """Return what comes of a row, which save() will write; ValidationError says why not."""

    @abstractmethod
    def save(self, *, by: Any) -> None:
        """Write all that was taken."""

    def _refuse_again(self, subject: str) -> None:
        """Raise ValidationError where an earlier row was about the same."""
        if subject in self._seen:
            raise ValidationError(
                _("An earlier row of this file is about the same name."), code="again"
            )


class Kind(ABC):
    """What a file can hold."""

    kind: ClassVar[ImportKind]
    #: The columns in their order, the first of which has to be there.
    columns: ClassVar[tuple[str, ...]]

    @abstractmethod
    def heading(self, column: str) -> str:
        """Return what stands above a column, in the reader's language."""

    @abstractmethod
    def rows(self, domain: Domain, encoding: str) -> Iterator[list[str]]:
        """Yield the rows of an export, the headings first."""

    @abstractmethod
    def batch(self, domain: Domain, rows: Sequence[ImportRow]) -> Batch:
        """Return what judges these rows together."""

    def names(self) -> dict[str, str]:
        """Return the columns by all headings that they may have: each language's, and their own."""
        found = {column: column for column in self.columns}
        for language, _words in settings.LANGUAGES:
            with translation.override(language):
                found |= {heading(self.heading(column)): column for column in self.columns}
        return found


class Accounts(Kind):
    """POP accounts: their passwords are never in an export."""

    kind = ImportKind.ACCOUNTS
    columns = ("name", "password", "ftp", "ssh")

    def heading(self, column: str) -> str:
        """Return what stands above a column."""
        words = {"name": _("Account name"), "password": _("Password"), **Account.SWITCHES}
        return words[column]

    def rows(self, domain: Domain, encoding: str) -> Iterator[list[str]]:
        """Yield the domain's accounts, without those that are being deleted."""
        yield [self.heading(column) for column in self.columns]
        gone = Change.objects.leaving(domain.server)
        for account in domain.accounts.order_by("name"):
            if account.key not in gone:
                switches = account.switches()
                yield [account.name, "", _word(switches["ftp"]), _word(switches["ssh"])]

    def batch(self, domain: Domain, rows: Sequence[ImportRow]) -> Batch:
        """Return what judges these rows together."""
        return _AccountBatch(domain, rows)


class _AccountBatch(Batch):
    def __init__(self, domain: Domain, rows: Sequence[ImportRow]) -> None:
        super().__init__(domain)
        self._many = ManyAccounts(domain, set(self._names(rows)))

    def _names(self, rows: Sequence[ImportRow]) -> Iterator[str]:
        """Yield the names that rows are about, as far as they name one."""
        for row in rows:
            with suppress(ValidationError):
                yield _lowered(_part(_only(row, "name"), self.domain))

    def take(self, row: ImportRow) -> Outcome:
        typed = _part(_only(row, "name"), self.domain)
        wanted = {name: on for name in Account.SWITCHES if (on := _switch(row, name)) is not None}
        account = self._many.get(_lowered(typed))
        name = account.name if account else names.clean_mailbox_name(typed)
        self._refuse_again(name)
        row.subject = names.readable_address(f"{name}@{self.domain.name}")
        if row.typed_password:
            passwords.check(row.typed_password, name=name)
        _refuse_other_than_checked(row, account)
        outcome = self._change(row, account, wanted) if account else self._add(row, name, wanted)
        self._seen.add(name)
        return outcome

    def _add(self, row: ImportRow, name: str, wanted: dict[str, bool]) -> Outcome:
        self._many.add(name, password_hash=row.password_hash, **wanted)
        if row.typed_password:
            row.password_hash = passwords.make_hash(row.typed_password)
        row.generated = row.generated or not row.password_hash
        return Outcome.ADD

    def _change(self, row: ImportRow, account: Account, wanted: dict[str, bool]) -> Outcome:
        has = account.switches()
        values: dict[str, Any] = {name: on for name, on in wanted.items() if on != has[name]}
        typed = row.typed_password
        if typed and not passwords.verify(typed, account.password_hash):
            row.password_hash = passwords.make_hash(typed)
        if row.password_hash:
            values["password_hash"] = row.password_hash
        if not values:
            return Outcome.SAME
        self._many.change(account.name, **values)
        return Outcome.CHANGE

    def save(self, *, by: Any) -> None:
        self._many.save(by=by)


def _refuse_other_than_checked(row: ImportRow, account: Account | None) -> None:
    """Raise ValidationError where an account came or went since the dry run.

    Else one that somebody has just added would get another password, and one that somebody has
    just deleted would come back.
    """
    if row.pk and account is None and row.outcome != Outcome.ADD:
        raise ValidationError(_("This account no longer exists."), code="gone")
    if row.pk and account is not None and row.outcome == Outcome.ADD:
        raise ValidationError(_("This account was added meanwhile."), code="meanwhile")


class Forwards(Kind):
    """Forwarding addresses; destinations stand in one column each, or several in a cell."""

    kind = ImportKind.FORWARDS
    columns = ("address", "destination")

    def heading(self, column: str) -> str:
        """Return what stands above a column."""
        return _("Address") if column == "address" else _("Forward to")

    def rows(self, domain: Domain, encoding: str) -> Iterator[list[str]]:
        """Yield the domain's forwarding addresses, without those that are being deleted."""
        gone = Change.objects.leaving(domain.server)
        ordered = Prefetch("destinations", Destination.objects.order_by("position"))
        forwards = domain.forwarding_addresses.prefetch_related(ordered).order_by("local_part")
        found = []
        for row in forwards:
            if row.key not in gone:
                row.domain = domain
                leads = [_shown(to, encoding) for to in row.leads_to()]
                found.append([_shown(f"{row.local_part or '*'}@{domain.name}", encoding), *leads])
        most = max([2, *map(len, found)])
        to = self.heading("destination")
        numbered = [f"{to} {number}" for number in range(2, most)]
        yield [self.heading("address"), to, *numbered]
        yield from (row + [""] * (most - len(row)) for row in found)

    def batch(self, domain: Domain, rows: Sequence[ImportRow]) -> Batch:
        """Return what judges these rows together."""
        return _ForwardBatch(domain, rows)


class _ForwardBatch(Batch):
    def __init__(self, domain: Domain, rows: Sequence[ImportRow]) -> None:
        super().__init__(domain)
        self._understood: dict[int, tuple[str, list[str]]] = {}
        # By row and by the language that the reason is in.
        self._refused: dict[tuple[int, str | None], ValidationError] = {}
        edits: dict[str, list[str]] = {}
        for row in rows:
            try:
                local_part, leads = self._read(row)
            except ValidationError:
                continue
            edits[local_part] = [*edits.get(local_part, []), *leads]
        self._many = ManyForwards(domain, edits)

    def take(self, row: ImportRow) -> Outcome:
        local_part, leads = self._read(row)
        self._refuse_again(local_part)
        row.subject = names.readable_address(f"{local_part or '*'}@{self.domain.name}")
        leads = self._many.hosted_form(leads)
        present = self._many.leads_to(local_part)
        if present is not None and sorted(present) == sorted(leads):
            self._seen.add(local_part)
            return Outcome.SAME
        self._many.lead(local_part, leads)
        self._seen.add(local_part)
        return Outcome.ADD if present is None else Outcome.CHANGE

    def _read(self, row: ImportRow) -> tuple[str, list[str]]:
        """Return the local part that a row is about, "" for the catch-all, and where to lead it."""
        # To judge addresses takes longer than all else about a row, and is not done twice.
        asked = (row.number, translation.get_language())
        if asked in self._refused:
            raise self._refused[asked]
        if row.number not in self._understood:
            try:
                self._understood[row.number] = self._understand(row)
            except ValidationError as error:
                self._refused[asked] = error
                raise
        return self._understood[row.number]

    def _understand(self, row: ImportRow) -> tuple[str, list[str]]:
        typed = _part(_only(row, "address"), self.domain)
        local_part = "" if typed in ("", "*") else clean_local_part(typed)
        cells = map(plain, row.cells.get("destination", []))
        return local_part, clean_destinations([to for cell in cells for to in _BETWEEN.split(cell)])

    def save(self, *, by: Any) -> None:
        self._many.save(by=by)


KINDS: dict[str, Kind] = {kind.kind.value: kind for kind in (Accounts(), Forwards())}


def _only(row: ImportRow, column: str) -> str:
    """Return what stands in a column; ValidationError where there is more, or nothing."""
    if row.cells.get(""):
        raise ValidationError(_("This row has more cells than the first row."), code="cells")
    cells = row.cells.get(column, [])
    if len(cells) != 1:
        raise ValidationError(
            _("Fill in the first column.") if not cells else _("Name each column once."),
            code="cells",
        )
    return plain(cells[0])


def _part(typed: str, domain: Domain) -> str:
    """Return the part before the @ where the whole address is given; only of this domain."""
    local_part, at, host = typed.rpartition("@")
    if not at:
        return typed
    if names.stored_domain(host) != domain.name:
        raise ValidationError(
            _("“%(typed)s” is not an address of %(domain)s.") % {"typed": typed, "domain": domain},
            code="domain",
        )
    return local_part


def _lowered(typed: str) -> str:
    # Of what is not ASCII nothing is an account's name, and some of it would become so.
    return typed.lower() if typed.isascii() else typed


def _switch(row: ImportRow, column: str) -> bool | None:
    """Return what a cell says of a switch, None where it is empty."""
    cells = row.cells.get(column, [])
    typed = plain(cells[0]).lower() if cells else ""
    if typed in _ON or typed in _OFF:
        return typed in _ON
    if typed:
        raise ValidationError(
            _("%(what)s: enter on or off, or leave the cell empty.")
            % {"what": Account.SWITCHES[column]},
            code="switch",
        )
    return None


def _word(on: bool) -> str:
    return "on" if on else "off"


def _shown(address: str, encoding: str) -> str:
    """Return an address as people read it, or as stored where the file cannot hold that."""
    readable = names.readable_address(address)
    return readable if fits(readable, encoding) else address
