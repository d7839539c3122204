"""Imports that customers asked for: the file's rows, what would come of each, and what did.

Everything is a row before anything is done, so that a lost message or a killed worker loses
nothing. No password is kept: one that the file names is a hash by the time it is stored, and those
that are made here come of a seed that is kept sealed until they were fetched (bulk.sealing).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Count, Q
from django.utils.timezone import now
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models import Domain
from bulk.files import plain

#: How long a dry run waits for its confirmation, and how long passwords can be fetched.
WAITS_FOR = timedelta(days=1)
#: How long the page of an import that has ended can be looked at.
KEPT_FOR = timedelta(days=30)
#: An import that nobody has been at for so long is taken up again.
RESTING = timedelta(seconds=30)


class ImportKind(models.TextChoices):
    """What a file holds."""

    ACCOUNTS = "accounts", _("POP accounts")
    FORWARDS = "forwards", _("Forwarding addresses")


class ImportState(models.TextChoices):
    """How far an import has come."""

    CHECKED = "checked", _("Checked, not imported yet")
    RUNNING = "running", _("Being imported")
    DONE = "done", _("Imported")


class Outcome(models.TextChoices):
    """What comes of a row."""

    ADD = "add", pgettext_lazy("row", "Added")
    CHANGE = "change", pgettext_lazy("row", "Changed")
    SAME = "same", pgettext_lazy("row", "Unchanged")
    REFUSED = "refused", pgettext_lazy("row", "Refused")


#: What is said of a row that has not been imported yet.
PLANNED = {Outcome.ADD.value: _("Will be added"), Outcome.CHANGE.value: _("Will be changed")}
#: What an import has to do.
WORK = (Outcome.ADD, Outcome.CHANGE)


class ImportQuerySet(models.QuerySet["Import"]):
    """Which imports."""

    def abandoned(self) -> ImportQuerySet:
        """Return the running ones that nobody has been at for a while."""
        return self.filter(state=ImportState.RUNNING, touched_at__lt=now() - RESTING)

    def forget(self) -> int:
        """Delete what was never confirmed, and what ended long ago; forget seeds in time."""
        moment = now()
        self.filter(state=ImportState.DONE, ended_at__lt=moment - WAITS_FOR).exclude(
            sealed_seed=""
        ).update(sealed_seed="")
        old = Q(state=ImportState.CHECKED, made_at__lt=moment - WAITS_FOR)
        old |= Q(state=ImportState.DONE, ended_at__lt=moment - KEPT_FOR)
        return self.filter(old).delete()[0]


class Import(models.Model):
    """One file, and how far it has come."""

    domain = models.ForeignKey(
        Domain, models.CASCADE, related_name="imports", verbose_name=_("domain")
    )
    kind = models.CharField(_("what"), max_length=8, choices=ImportKind.choices)
    state = models.CharField(
        _("state"), max_length=7, choices=ImportState.choices, default=ImportState.CHECKED
    )
    file_name = models.CharField(_("file"), max_length=120)
    unread: models.JSONField[Any, list[str]] = models.JSONField(
        _("columns that are not read"), default=list
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=_("asked for by"),
    )
    asked_from = models.GenericIPAddressField(_("Internet address"), null=True, blank=True)
    made_at = models.DateTimeField(_("checked"), default=now)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True, blank=True)
    touched_at = models.DateTimeField(_("last worked on"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    sealed_seed = models.CharField(max_length=200, blank=True, editable=False)
    passwords_taken_at = models.DateTimeField(_("passwords fetched"), null=True, blank=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ["-made_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                name="import_kind_known", condition=Q(kind__in=ImportKind.values)
            ),
            models.CheckConstraint(
                name="import_times_fit_its_state",
                condition=Q(state=ImportState.CHECKED, confirmed_at=None, ended_at=None)
                | Q(state=ImportState.RUNNING, confirmed_at__isnull=False, ended_at=None)
                | Q(state=ImportState.DONE, confirmed_at__isnull=False, ended_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                name="running_imports", fields=["touched_at"], condition=Q(state="running")
            ),
            models.Index(name="import_by_domain", fields=["domain", "-made_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} ({self.get_kind_display()})"

    @property
    def moving(self) -> bool:
        """Whether a worker is at it, or will be."""
        return self.state == ImportState.RUNNING

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each outcome, as far as it is known."""
        found = self.rows.order_by().values_list("outcome").annotate(Count("pk"))
        return dict.fromkeys(Outcome.values, 0) | dict(found)

    def left(self) -> models.QuerySet[ImportRow]:
        """Return the rows that are still to be imported."""
        return self.rows.filter(done=False)

    def confirm(self) -> bool:
        """Let it begin; False where somebody was quicker."""
        moment = now()
        waiting = Import.objects.filter(pk=self.pk, state=ImportState.CHECKED)
        return bool(
            waiting.update(state=ImportState.RUNNING, confirmed_at=moment, touched_at=moment)
        )

    def end(self) -> None:
        """Note that every row was looked at."""
        running = Import.objects.filter(pk=self.pk, state=ImportState.RUNNING)
        running.update(state=ImportState.DONE, ended_at=now())


class ImportRow(models.Model):
    """One row of a file. `outcome` is what would come of it and, once it is `done`, what did."""

    job = models.ForeignKey(Import, models.CASCADE, db_index=False, related_name="rows")
    number = models.PositiveIntegerField(_("row"))
    cells: models.JSONField[Any, dict[str, Any]] = models.JSONField(_("cells"))
    password_hash = models.CharField(max_length=255, blank=True, editable=False)
    # Whether the account's password is one that was made here.
    generated = models.BooleanField(default=False, editable=False)
    subject = models.CharField(_("about"), max_length=320)
    outcome = models.CharField(_("outcome"), max_length=7, choices=Outcome.choices)
    done = models.BooleanField(_("done"), default=False)
    #: The reason of a refusal, by language.
    reasons: models.JSONField[Any, dict[str, str]] = models.JSONField(_("reasons"), default=dict)

    #: The password that the file names; it is stored nowhere.
    typed_password: str = ""

    class Meta:
        verbose_name = _("row of an import")
        verbose_name_plural = _("rows of imports")
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(name="import_row_once", fields=["job", "number"]),
            models.CheckConstraint(
                name="import_row_outcome", condition=Q(outcome__in=Outcome.values)
            ),
        ]
        indexes = [
            models.Index(name="import_rows_left", fields=["job", "number"], condition=Q(done=False))
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.subject}"

    @property
    def words(self) -> Any:
        """What came of it, or would."""
        return self.get_outcome_display() if self.done else PLANNED[self.outcome]

    @property
    def reason(self) -> str:
        """Why it is refused, in the reader's language."""
        return self.reasons.get(get_language() or "") or next(iter(self.reasons.values()), "")

    @property
    def leads_to(self) -> str:
        """Where the address is to lead, as the file says."""
        return ", ".join(map(plain, self.cells.get("destination", [])))
