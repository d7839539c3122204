"""Archives of mailboxes, the runs that made them, and what their owners want done with them.

`Archive` and `ArchiveNews` are copies of what the mail servers tell; they come again when a
server's `ArchiveNews` is deleted. `ArchiveRun` and `ArchiveJob` are the panel's own: a run is the
Wednesday job of one server, a job is what a customer asked for. Both are rows before anything is
done, so that a lost message or a killed worker loses none; only the methods here move them on.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import Count, Exists, OuterRef, Q, Sum
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from accounts.models import Account, Domain
from accounts.names import readable_address
from history.models import Entry
from propagation.models import MailServer
from quota.models.usage import FULL, MailboxUsage

#: For so long a domain's home page tells of what became of a full mailbox.
TOLD_FOR = timedelta(days=7)
#: Minutes before a mailbox that could not be emptied is tried again; the last one repeats.
PAUSES = (5, 15, 30, 60)


class ArchiveNews(models.Model):
    """How far one server's archives have been taken over, and where it keeps them."""

    server = models.OneToOneField(
        MailServer, models.CASCADE, primary_key=True, verbose_name=gettext_lazy("mail server")
    )
    cursor = models.CharField(max_length=200, blank=True, editable=False)
    # The web process reads archives there; what tells of it, host.json, is root's alone.
    homes_root = models.CharField(
        gettext_lazy("directory of homes"), max_length=500, blank=True, editable=False
    )
    since = models.DateTimeField(gettext_lazy("looked after since"), default=now, editable=False)
    collected_at = models.DateTimeField(
        gettext_lazy("archives of"), null=True, blank=True, editable=False
    )
    verified_at = models.DateTimeField(
        gettext_lazy("files last looked for"), null=True, blank=True, editable=False
    )

    class Meta:
        verbose_name = gettext_lazy("news of archives")
        verbose_name_plural = gettext_lazy("news of archives")

    def __str__(self) -> str:
        return str(self.server)


class ArchiveChoice(models.Model):
    """What a domain's owner chose instead of the manual's way; no row: all mail."""

    domain = models.OneToOneField(
        Domain,
        models.CASCADE,
        primary_key=True,
        related_name="archive_choice",
        verbose_name=gettext_lazy("domain"),
    )
    oldest = models.BooleanField(
        gettext_lazy("only the oldest mail, until half of the mailbox is free"), default=False
    )

    class Meta:
        verbose_name = gettext_lazy("choice for archives")
        verbose_name_plural = gettext_lazy("choices for archives")

    def __str__(self) -> str:
        return f"{self.domain}: {self.oldest}"


class ArchiveState(models.TextChoices):
    """What became of an archive's file."""

    KEPT = "kept", gettext_lazy("Kept")
    GONE = "gone", gettext_lazy("Deleted or changed by FTP")
    REMOVED = "removed", gettext_lazy("Deleted")


class ArchiveQuerySet(models.QuerySet["Archive"]):
    """Which archives."""

    def kept(self) -> ArchiveQuerySet:
        """Return those whose files are there."""
        return self.filter(state=ArchiveState.KEPT)


class Archive(models.Model):
    """A file in a domain's home with mail that was taken out of a mailbox.

    It outlives its account: `mailbox_id` is the account's key, whether there is still one or not,
    so that an account that is brought back finds its archives again.
    """

    server = models.ForeignKey(
        MailServer, models.CASCADE, db_index=False, verbose_name=gettext_lazy("mail server")
    )
    number = models.PositiveBigIntegerField(gettext_lazy("number on the server"))
    domain = models.ForeignKey(
        Domain,
        models.CASCADE,
        db_index=False,
        related_name="archives",
        verbose_name=gettext_lazy("domain"),
    )
    mailbox_id = models.UUIDField(gettext_lazy("mailbox"), db_index=True)
    account_name = models.CharField(gettext_lazy("account"), max_length=63)
    file_name = models.CharField(gettext_lazy("file"), max_length=120)
    taken_at = models.DateTimeField(gettext_lazy("taken"))
    messages = models.PositiveIntegerField(gettext_lazy("messages"))
    mail_bytes = models.PositiveBigIntegerField(gettext_lazy("mail (bytes)"))
    file_bytes = models.PositiveBigIntegerField(gettext_lazy("file (bytes)"))
    sha256 = models.CharField("SHA-256", max_length=64)
    state = models.CharField(gettext_lazy("state"), max_length=7, choices=ArchiveState.choices)

    objects = ArchiveQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("archive")
        verbose_name_plural = gettext_lazy("archives")
        ordering = ["-taken_at", "-pk"]
        constraints = [
            models.UniqueConstraint(name="archive_once_per_server", fields=["server", "number"]),
            models.CheckConstraint(
                name="archive_state", condition=Q(state__in=ArchiveState.values)
            ),
        ]
        indexes = [models.Index(name="archive_by_domain", fields=["domain", "-taken_at"])]

    def __str__(self) -> str:
        return self.file_name

    @property
    def address(self) -> str:
        """The address of the account whose mail it holds, as people read it."""
        return readable_address(f"{self.account_name}@{self.domain.name}")

    @property
    def kept(self) -> bool:
        """Whether its file is there."""
        return self.state == ArchiveState.KEPT

    def account(self) -> Account | None:
        """Return the account that its mail can be put back into, if there is one still."""
        return Account.objects.filter(pk=self.mailbox_id, domain=self.domain_id).first()


class ArchiveRunQuerySet(models.QuerySet["ArchiveRun"]):
    """Which runs."""

    def open(self) -> ArchiveRunQuerySet:
        """Return those that have not ended."""
        return self.filter(finished_at=None)

    def of_week(self, server: MailServer, day: date, *, by: Any = None) -> ArchiveRun:
        """Return the run that stands for a Wednesday; a new one waits for the server's worker."""
        run, _made = self.get_or_create(
            server=server, day=day, weekly=True, defaults={"asked_by": by}
        )
        return run


class ArchiveRun(models.Model):
    """One look at all full mailboxes of a server.

    `weekly` runs stand for the Wednesday that `day` names, also where they were made up later
    (`late`); others were asked for by the operator for some accounts or for all.
    """

    server = models.ForeignKey(MailServer, models.CASCADE, verbose_name=gettext_lazy("mail server"))
    day = models.DateField(gettext_lazy("for"))
    weekly = models.BooleanField(gettext_lazy("the week's"), default=True)
    late = models.BooleanField(gettext_lazy("made up late"), default=False)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=gettext_lazy("asked for by"),
    )
    asked_at = models.DateTimeField(gettext_lazy("asked for"), default=now)
    started_at = models.DateTimeField(gettext_lazy("begun"), null=True, blank=True)
    finished_at = models.DateTimeField(gettext_lazy("ended"), null=True, blank=True)
    found = models.PositiveIntegerField(gettext_lazy("full"), default=0)
    trouble = models.CharField(gettext_lazy("trouble"), max_length=500, blank=True)

    objects = ArchiveRunQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("run of archiving")
        verbose_name_plural = gettext_lazy("runs of archiving")
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                name="one_archive_run_a_week", fields=["server", "day"], condition=Q(weekly=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.server} {self.day}"

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has not ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def sums(self) -> dict[str, int]:
        """Return how many mailboxes were emptied and how many not, with messages and bytes."""
        fine = Q(code__in=ArchiveRunResult.FINE)
        found = self.results.aggregate(
            done=Count("pk", filter=Q(code="")),
            failed=Count("pk", filter=~fine),
            messages=Sum("messages"),
            mail_bytes=Sum("mail_bytes"),
        )
        return {name: int(value or 0) for name, value in found.items()}

    def begin(self, *, late: bool) -> None:
        """Note that a worker is at it; what an earlier, killed one noted stays."""
        self.started_at = self.started_at or now()
        self.late = self.late or late
        self.save(update_fields=["started_at", "late"])

    def end(self, trouble: str = "") -> None:
        """Note that every full mailbox was looked at once."""
        self.finished_at, self.trouble = now(), trouble[:500]
        self.save(update_fields=["finished_at", "trouble"])


class ArchiveRunResultQuerySet(models.QuerySet["ArchiveRunResult"]):
    """What became of full mailboxes."""

    def failed(self) -> ArchiveRunResultQuerySet:
        """Return those that could not be emptied."""
        return self.exclude(code__in=ArchiveRunResult.FINE)

    def to_retry(self, server: MailServer) -> ArchiveRunResultQuerySet:
        """Return the failures whose pause is over."""
        return self.failed().filter(run__server=server, retry_at__lte=now())


class ArchiveRunResult(models.Model):
    """What became of one mailbox in a run. `code` is one of mailhost.archive.CODES, "" for done."""

    #: Not failures: emptied, and no longer full when its turn came.
    FINE = ("", "nothing_to_take")

    run = models.ForeignKey(
        ArchiveRun, models.CASCADE, related_name="results", verbose_name=gettext_lazy("run")
    )
    # Both without a constraint of their own: a report outlives what it tells of.
    mailbox_id = models.UUIDField(gettext_lazy("mailbox"))
    domain = models.ForeignKey(
        Domain, models.SET_NULL, null=True, verbose_name=gettext_lazy("domain")
    )
    address = models.CharField(gettext_lazy("account"), max_length=320)
    file_name = models.CharField(gettext_lazy("file"), max_length=120, blank=True)
    messages = models.PositiveIntegerField(gettext_lazy("messages"), default=0)
    mail_bytes = models.PositiveBigIntegerField(gettext_lazy("mail (bytes)"), default=0)
    code = models.CharField(gettext_lazy("reason"), max_length=40, blank=True)
    trouble = models.CharField(gettext_lazy("trouble"), max_length=500, blank=True)
    attempts = models.PositiveIntegerField(gettext_lazy("attempts"), default=0)
    ended_at = models.DateTimeField(gettext_lazy("last tried"), null=True, blank=True)
    retry_at = models.DateTimeField(gettext_lazy("tried again"), null=True, blank=True)

    objects = ArchiveRunResultQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("mailbox of a run")
        verbose_name_plural = gettext_lazy("mailboxes of a run")
        ordering = ["address"]
        constraints = [
            models.UniqueConstraint(name="archive_run_result_once", fields=["run", "mailbox_id"]),
        ]
        indexes = [
            models.Index(
                name="archive_result_to_retry",
                fields=["retry_at"],
                condition=Q(retry_at__isnull=False),
            ),
            models.Index(name="archive_result_by_domain", fields=["domain", "-ended_at"]),
        ]

    def __str__(self) -> str:
        return readable_address(self.address)

    @property
    def failed(self) -> bool:
        """Whether the mailbox could not be emptied."""
        return self.code not in self.FINE

    def pause(self) -> timedelta:
        """Return how long to wait before the next attempt."""
        return timedelta(minutes=PAUSES[min(self.attempts, len(PAUSES)) - 1])


class JobKind(models.TextChoices):
    """What a customer can ask for."""

    TAKE = "take", gettext_lazy("archive now")
    PUT_BACK = "put_back", gettext_lazy("put back")
    DELETE = "delete", gettext_lazy("delete the archive")


class JobState(models.TextChoices):
    """How far it has come."""

    WAITING = "waiting", pgettext_lazy("job", "Waiting")
    RUNNING = "running", gettext_lazy("Being done")
    DONE = "done", gettext_lazy("Done")
    FAILED = "failed", gettext_lazy("Not done")


OPEN = (JobState.WAITING, JobState.RUNNING)


class ArchiveJobQuerySet(models.QuerySet["ArchiveJob"]):
    """Which jobs, and how one comes to be."""

    def open(self) -> ArchiveJobQuerySet:
        """Return those that have not ended."""
        return self.filter(state__in=OPEN)

    def ask(self, **fields: Any) -> ArchiveJob:
        """Write down what is wanted of a mailbox or an archive.

        Raises ValidationError where something else is being done with it.
        """
        job = ArchiveJob(**fields)
        job.server_id = job.domain.server_id
        try:
            with transaction.atomic():
                job.save(force_insert=True)
                Entry.objects.note(
                    f"archive.{job.kind}",
                    subject=f"{job.account_name}@{job.domain.name}",
                    domain=job.domain.name,
                    by=job.asked_by,
                )
        except IntegrityError:
            raise ValidationError(
                _("Something is being done with it already. Please wait until that has ended."),
                code="busy",
            ) from None
        return job

    def claim_next(self, server: MailServer) -> ArchiveJob | None:
        """Take the server's next waiting job, for the one worker that is at its jobs."""
        waiting = self.filter(server=server, state=JobState.WAITING).order_by("pk")
        for job in waiting.select_related("domain", "archive", "server")[:1]:
            job.state, job.started_at = JobState.RUNNING, now()
            job.save(update_fields=["state", "started_at"])
            return job
        return None

    def killed(self, server: MailServer) -> int:
        """Let wait again what a worker that died had begun; return how many."""
        begun = self.filter(server=server, state=JobState.RUNNING)
        return begun.update(state=JobState.WAITING, again=True)


class ArchiveJob(models.Model):
    """What a customer asked for; the server's worker does it at once.

    `numbers` are the messages to put back, by their places in the archive; none: all.
    """

    server = models.ForeignKey(MailServer, models.CASCADE, verbose_name=gettext_lazy("mail server"))
    domain = models.ForeignKey(
        Domain, models.CASCADE, related_name="archive_jobs", verbose_name=gettext_lazy("domain")
    )
    kind = models.CharField(gettext_lazy("what"), max_length=8, choices=JobKind.choices)
    mailbox_id = models.UUIDField(gettext_lazy("mailbox"), null=True, blank=True)
    account_name = models.CharField(gettext_lazy("account"), max_length=63)
    archive = models.ForeignKey(
        Archive, models.CASCADE, null=True, blank=True, verbose_name=gettext_lazy("archive")
    )
    oldest = models.BooleanField(gettext_lazy("only the oldest"), default=False)
    numbers: models.JSONField[Any, list[int] | None] = models.JSONField(
        gettext_lazy("messages"), null=True, blank=True
    )
    state = models.CharField(
        gettext_lazy("state"), max_length=7, choices=JobState.choices, default=JobState.WAITING
    )
    # Begun once before, by a worker that was killed.
    again = models.BooleanField(default=False, editable=False)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=gettext_lazy("asked for by"),
    )
    asked_at = models.DateTimeField(gettext_lazy("asked for"), default=now)
    started_at = models.DateTimeField(gettext_lazy("begun"), null=True, blank=True)
    ended_at = models.DateTimeField(gettext_lazy("ended"), null=True, blank=True)
    file_name = models.CharField(gettext_lazy("file"), max_length=120, blank=True)
    # Of messages: taken or put back; there already; without room; left in the archive.
    moved = models.PositiveIntegerField(gettext_lazy("messages moved"), default=0)
    moved_bytes = models.PositiveBigIntegerField(gettext_lazy("mail moved (bytes)"), default=0)
    already = models.PositiveIntegerField(gettext_lazy("there already"), default=0)
    no_room = models.PositiveIntegerField(gettext_lazy("without room"), default=0)
    unreached = models.PositiveIntegerField(gettext_lazy("not come to"), default=0)
    code = models.CharField(gettext_lazy("reason"), max_length=40, blank=True)
    trouble = models.CharField(gettext_lazy("trouble"), max_length=500, blank=True)

    objects = ArchiveJobQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("job with an archive")
        verbose_name_plural = gettext_lazy("jobs with archives")
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                name="one_open_job_per_mailbox",
                fields=["mailbox_id"],
                condition=Q(state__in=OPEN, mailbox_id__isnull=False),
            ),
            models.UniqueConstraint(
                name="one_open_job_per_archive",
                fields=["archive"],
                condition=Q(state__in=OPEN, archive__isnull=False),
            ),
            models.CheckConstraint(
                name="archive_job_names_what_it_needs",
                condition=Q(kind=JobKind.TAKE, mailbox_id__isnull=False, archive=None)
                | Q(kind=JobKind.PUT_BACK, mailbox_id__isnull=False, archive__isnull=False)
                | Q(kind=JobKind.DELETE, archive__isnull=False),
            ),
            models.CheckConstraint(
                name="archive_job_ended_iff_it_has_an_end",
                condition=Q(state__in=OPEN, ended_at=None)
                | (~Q(state__in=OPEN) & Q(ended_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(
                name="open_archive_jobs", fields=["server", "id"], condition=Q(state__in=OPEN)
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.archive or self.address}"

    @property
    def address(self) -> str:
        """The address of the account that it is about, as people read it."""
        return readable_address(f"{self.account_name}@{self.domain.name}")

    @property
    def moving(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN

    def end(self, **result: Any) -> None:
        """Note what came of it; a `code` says why nothing did."""
        self.state = JobState.FAILED if result.get("code") else JobState.DONE
        self.ended_at = now()
        for name, value in result.items():
            setattr(self, name, value)
        self.save()

    def try_again(self) -> bool:
        """Let a job that failed wait once more; False where something else is open by now."""
        failed = ArchiveJob.objects.filter(pk=self.pk, state=JobState.FAILED)
        try:
            with transaction.atomic():
                return bool(
                    failed.update(state=JobState.WAITING, ended_at=None, code="", trouble="")
                )
        except IntegrityError:
            return False


def told_lately(domain: Domain) -> models.QuerySet[ArchiveRunResult]:
    """Return what became of the domain's full mailboxes within the last days.

    Without failures that are over: the mailbox was archived since, or has room by itself.
    """
    lately = ArchiveRunResult.objects.filter(domain=domain, ended_at__gt=now() - TOLD_FOR)
    mailbox = OuterRef("mailbox_id")
    since = Archive.objects.filter(mailbox_id=mailbox, taken_at__gt=OuterRef("ended_at"))
    room = MailboxUsage.objects.filter(account=mailbox, percent__lt=FULL)
    over = ~Q(code="") & (Exists(since) | Exists(room))
    return lately.exclude(code="nothing_to_take").exclude(over).order_by("-ended_at")
