"""The tables of records, as models. The store writes them in SQL of its own: read them, and leave
writing to it."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from gearmanny.contrib.django.fields import MomentField, NameField


class StoreManager(models.Manager[Any]):
    """A manager of rows that are in the database of `GEARMANNY["RECORDS"]`."""

    def get_queryset(self) -> models.QuerySet[Any]:
        from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415

        rows = super().get_queryset()
        return rows if self._db else rows.using(get_settings().RECORDS.DATABASE)


class JobRecord(models.Model):
    """The record of a background job."""

    class State(models.TextChoices):
        """The state of a recorded job."""

        QUEUED = "queued", gettext_lazy("queued")
        RUNNING = "running", gettext_lazy("running")
        SUCCEEDED = "succeeded", gettext_lazy("succeeded")
        FAILED = "failed", gettext_lazy("failed")
        CANCELLED = "cancelled", gettext_lazy("cancelled")

    id = models.UUIDField(primary_key=True)
    function = models.TextField()
    state = models.CharField(max_length=16, choices=State.choices)
    priority = models.SmallIntegerField()
    arguments = models.TextField(null=True)  # noqa: DJ001  the columns are those of the store
    arguments_raw = models.BinaryField(null=True)
    result = models.TextField(null=True)  # noqa: DJ001
    result_raw = models.BinaryField(null=True)
    error = models.TextField(null=True)  # noqa: DJ001
    errors = models.TextField()
    trace = models.TextField()
    headers = models.TextField()
    unique_key = models.TextField(null=True)  # noqa: DJ001
    unique_waiting_key = models.TextField(null=True)  # noqa: DJ001
    created = MomentField()
    due = MomentField()
    handed = MomentField(null=True)
    started = MomentField(null=True)
    finished = MomentField(null=True)
    attempts = models.IntegerField()
    failures = models.IntegerField()
    deaths = models.IntegerField()
    handovers = models.IntegerField()
    unclaimed = models.IntegerField()
    claim = models.BigIntegerField(null=True)
    process = models.UUIDField(null=True)
    cancelling = models.BooleanField()
    limited = models.TextField(null=True)  # noqa: DJ001
    held = MomentField(null=True)
    parent = models.UUIDField(null=True)

    objects = StoreManager()

    class Meta:
        db_table = "gearmanny_jobs"
        default_permissions = ("view",)
        permissions = (
            ("act_jobrecord", "Can retry, cancel and discard jobs"),
            ("call_jobrecord", "Can call functions"),
        )
        verbose_name = gettext_lazy("job")
        verbose_name_plural = gettext_lazy("jobs")
        required_db_features = ("supports_partial_indexes",)
        indexes = (
            models.Index(
                fields=["function", "priority", "due"],
                name="gearmanny_jobs_due",
                condition=Q(state="queued") & Q(handed__isnull=True) & Q(held__isnull=True),
            ),
            models.Index(
                fields=["limited", "priority", "id"],
                name="gearmanny_jobs_held",
                condition=Q(state="queued") & Q(held__isnull=False),
            ),
            models.Index(
                fields=["limited"],
                name="gearmanny_jobs_limited",
                condition=Q(limited__isnull=False)
                & Q(held__isnull=True)
                & Q(state__in=["queued", "running"]),
            ),
            models.Index(
                fields=["function", "handed"],
                name="gearmanny_jobs_handed",
                condition=Q(state="queued") & Q(handed__isnull=False),
            ),
            models.Index(
                fields=["process"], name="gearmanny_jobs_running", condition=Q(state="running")
            ),
            models.Index(
                fields=["state", "finished"],
                name="gearmanny_jobs_finished",
                condition=Q(finished__isnull=False),
            ),
            models.Index(
                fields=["function", "state", "finished"],
                name="gearmanny_jobs_ended",
                condition=Q(finished__isnull=False),
            ),
            models.Index(
                fields=["parent", "id"],
                name="gearmanny_jobs_children",
                condition=Q(parent__isnull=False),
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["function", "unique_key"],
                name="gearmanny_jobs_unique",
                condition=Q(unique_key__isnull=False) & Q(state__in=["queued", "running"]),
            ),
            models.UniqueConstraint(
                fields=["function", "unique_waiting_key"],
                name="gearmanny_jobs_waiting",
                condition=Q(unique_waiting_key__isnull=False) & Q(state="queued"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.function} {self.id}"


class JobNote(models.Model):
    """The progress of a job, its metadata, and whether anybody waits for it."""

    id = models.UUIDField(primary_key=True)
    numerator = models.BigIntegerField(null=True)
    denominator = models.BigIntegerField(null=True)
    metadata = models.TextField(null=True)  # noqa: DJ001
    watched = models.BooleanField()

    objects = StoreManager()

    class Meta:
        db_table = "gearmanny_notes"
        required_db_features = ("supports_partial_indexes",)

    def __str__(self) -> str:
        return str(self.id)


class JobSchedule(models.Model):
    """The schedule of a job."""

    class Overlap(models.TextChoices):
        """The fate of a tick while the job of an earlier one waits or runs."""

        SKIP = "skip", gettext_lazy("skip the tick")
        QUEUE = "queue", gettext_lazy("queue its job all the same")

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    function = models.TextField()
    arguments = models.TextField(blank=True)
    every = models.FloatField(
        null=True, blank=True, help_text=gettext_lazy("Seconds from one tick to the next.")
    )
    cron = models.TextField(  # noqa: DJ001
        null=True,
        blank=True,
        help_text=gettext_lazy("Instead of that, an expression, such as 0 3 * * mon-fri"),
    )
    timezone = models.TextField(default="UTC")
    jitter = models.FloatField(
        default=0.0, help_text=gettext_lazy("Seconds by which jobs are put off at random, at most.")
    )
    catch_up = models.BooleanField(
        default=False, help_text=gettext_lazy("Make up for all missed ticks, not for the last one.")
    )
    overlap = models.CharField(
        max_length=8,
        choices=Overlap.choices,
        default=Overlap.SKIP,
        help_text=gettext_lazy("While the job of an earlier tick waits or runs."),
    )
    max_late = models.FloatField(
        null=True,
        blank=True,
        help_text=gettext_lazy("Seconds after which a missed tick is not made up for."),
    )
    from_code = models.BooleanField()
    paused = models.BooleanField()
    last_tick = MomentField()
    next_tick = MomentField(null=True)
    job = models.UUIDField(null=True)
    tick_job = models.UUIDField(null=True)
    offered: bool | None = None
    """Whether a worker offers it, where that was looked up."""

    objects = StoreManager()

    class Meta:
        db_table = "gearmanny_schedules"
        verbose_name = gettext_lazy("schedule")
        verbose_name_plural = gettext_lazy("schedules")
        required_db_features = ("supports_partial_indexes",)
        constraints = (models.UniqueConstraint(fields=["name"], name="gearmanny_schedules_name"),)

    def __str__(self) -> str:
        return f"{self.name}"


class JobLimit(models.Model):
    """A limit of a function, or of one key of it."""

    name = NameField(primary_key=True)
    max_running = models.IntegerField(null=True)
    every = models.FloatField(null=True)
    next = MomentField(null=True)

    objects = StoreManager()

    class Meta:
        db_table = "gearmanny_limits"
        required_db_features = ("supports_partial_indexes",)

    def __str__(self) -> str:
        return str(self.name)


class WorkerProcess(models.Model):
    """A process that runs recorded jobs."""

    id = models.UUIDField(primary_key=True)
    host = models.TextField()
    pid = models.IntegerField()
    pool = models.TextField()
    runner = models.TextField()
    functions = models.TextField()
    client_id = models.TextField()
    liveness = models.CharField(max_length=8)
    lock_key = models.BigIntegerField(null=True)
    started = MomentField()
    beat = MomentField()
    missed = MomentField(null=True)

    objects = StoreManager()

    class Meta:
        db_table = "gearmanny_processes"
        verbose_name_plural = "worker processes"
        required_db_features = ("supports_partial_indexes",)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
