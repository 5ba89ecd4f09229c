"""The tables of recorded jobs."""

from django.db import migrations, models

from gearmanny.contrib.django.fields import MomentField, NameField
from gearmanny.contrib.django.schema import StoreVersion


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        StoreVersion(
            1,
            [
                migrations.CreateModel(
                    name="JobNote",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("numerator", models.BigIntegerField(null=True)),
                        ("denominator", models.BigIntegerField(null=True)),
                        ("metadata", models.TextField(null=True)),
                        ("watched", models.BooleanField()),
                    ],
                    options={
                        "db_table": "gearmanny_notes",
                        "required_db_features": ("supports_partial_indexes",),
                    },
                ),
                migrations.CreateModel(
                    name="JobSchedule",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("name", models.TextField()),
                        ("function", models.TextField()),
                        ("arguments", models.TextField(blank=True)),
                        (
                            "every",
                            models.FloatField(
                                blank=True,
                                help_text="Seconds from one tick to the next.",
                                null=True,
                            ),
                        ),
                        (
                            "cron",
                            models.TextField(
                                blank=True,
                                help_text="Instead of that, an expression, such as 0 3 * * mon-fri",
                                null=True,
                            ),
                        ),
                        ("timezone", models.TextField(default="UTC")),
                        (
                            "jitter",
                            models.FloatField(
                                default=0.0,
                                help_text="Seconds by which jobs are put off at random, at most.",
                            ),
                        ),
                        (
                            "catch_up",
                            models.BooleanField(
                                default=False,
                                help_text="Make up for all missed ticks, not for the last one.",
                            ),
                        ),
                        (
                            "overlap",
                            models.CharField(
                                choices=[
                                    ("skip", "skip the tick"),
                                    ("queue", "queue its job all the same"),
                                ],
                                default="skip",
                                help_text="While the job of an earlier tick waits or runs.",
                                max_length=8,
                            ),
                        ),
                        (
                            "max_late",
                            models.FloatField(
                                blank=True,
                                help_text="Seconds after which a missed tick is not made up for.",
                                null=True,
                            ),
                        ),
                        ("from_code", models.BooleanField()),
                        ("paused", models.BooleanField()),
                        ("last_tick", MomentField()),
                        ("next_tick", MomentField(null=True)),
                        ("job", models.UUIDField(null=True)),
                        ("tick_job", models.UUIDField(null=True)),
                    ],
                    options={
                        "verbose_name": "schedule",
                        "verbose_name_plural": "schedules",
                        "db_table": "gearmanny_schedules",
                        "required_db_features": ("supports_partial_indexes",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("name",), name="gearmanny_schedules_name"
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="JobLimit",
                    fields=[
                        ("name", NameField(primary_key=True, serialize=False)),
                        ("max_running", models.IntegerField(null=True)),
                        ("every", models.FloatField(null=True)),
                        ("next", MomentField(null=True)),
                    ],
                    options={
                        "db_table": "gearmanny_limits",
                        "required_db_features": ("supports_partial_indexes",),
                    },
                ),
                migrations.CreateModel(
                    name="WorkerProcess",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("host", models.TextField()),
                        ("pid", models.IntegerField()),
                        ("pool", models.TextField()),
                        ("runner", models.TextField()),
                        ("functions", models.TextField()),
                        ("client_id", models.TextField()),
                        ("liveness", models.CharField(max_length=8)),
                        ("lock_key", models.BigIntegerField(null=True)),
                        ("started", MomentField()),
                        ("beat", MomentField()),
                        ("missed", MomentField(null=True)),
                    ],
                    options={
                        "verbose_name_plural": "worker processes",
                        "db_table": "gearmanny_processes",
                        "required_db_features": ("supports_partial_indexes",),
                    },
                ),
                migrations.CreateModel(
                    name="JobRecord",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("function", models.TextField()),
                        (
                            "state",
                            models.CharField(
                                choices=[
                                    ("queued", "queued"),
                                    ("running", "running"),
                                    ("succeeded", "succeeded"),
                                    ("failed", "failed"),
                                    ("cancelled", "cancelled"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("priority", models.SmallIntegerField()),
                        ("arguments", models.TextField(null=True)),
                        ("arguments_raw", models.BinaryField(null=True)),
                        ("result", models.TextField(null=True)),
                        ("result_raw", models.BinaryField(null=True)),
                        ("error", models.TextField(null=True)),
                        ("errors", models.TextField()),
                        ("trace", models.TextField()),
                        ("headers", models.TextField()),
                        ("unique_key", models.TextField(null=True)),
                        ("unique_waiting_key", models.TextField(null=True)),
                        ("created", MomentField()),
                        ("due", MomentField()),
                        ("handed", MomentField(null=True)),
                        ("started", MomentField(null=True)),
                        ("finished", MomentField(null=True)),
                        ("attempts", models.IntegerField()),
                        ("failures", models.IntegerField()),
                        ("deaths", models.IntegerField()),
                        ("handovers", models.IntegerField()),
                        ("unclaimed", models.IntegerField()),
                        ("claim", models.BigIntegerField(null=True)),
                        ("process", models.UUIDField(null=True)),
                        ("cancelling", models.BooleanField()),
                        ("limited", models.TextField(null=True)),
                        ("held", MomentField(null=True)),
                        ("parent", models.UUIDField(null=True)),
                    ],
                    options={
                        "default_permissions": ("view",),
                        "permissions": (
                            ("act_jobrecord", "Can retry, cancel and discard jobs"),
                            ("call_jobrecord", "Can call functions"),
                        ),
                        "verbose_name": "job",
                        "verbose_name_plural": "jobs",
                        "db_table": "gearmanny_jobs",
                        "required_db_features": ("supports_partial_indexes",),
                        "indexes": [
                            models.Index(
                                condition=models.Q(
                                    ("state", "queued"),
                                    ("handed__isnull", True),
                                    ("held__isnull", True),
                                ),
                                fields=["function", "priority", "due"],
                                name="gearmanny_jobs_due",
                            ),
                            models.Index(
                                condition=models.Q(("state", "queued"), ("handed__isnull", False)),
                                fields=["function", "handed"],
                                name="gearmanny_jobs_handed",
                            ),
                            models.Index(
                                condition=models.Q(("state", "queued"), ("held__isnull", False)),
                                fields=["limited", "priority", "id"],
                                name="gearmanny_jobs_held",
                            ),
                            models.Index(
                                condition=models.Q(
                                    ("limited__isnull", False),
                                    ("held__isnull", True),
                                    ("state__in", ["queued", "running"]),
                                ),
                                fields=["limited"],
                                name="gearmanny_jobs_limited",
                            ),
                            models.Index(
                                condition=models.Q(("state", "running")),
                                fields=["process"],
                                name="gearmanny_jobs_running",
                            ),
                            models.Index(
                                condition=models.Q(("finished__isnull", False)),
                                fields=["state", "finished"],
                                name="gearmanny_jobs_finished",
                            ),
                            models.Index(
                                condition=models.Q(("finished__isnull", False)),
                                fields=["function", "state", "finished"],
                                name="gearmanny_jobs_ended",
                            ),
                            models.Index(
                                condition=models.Q(("parent__isnull", False)),
                                fields=["parent", "id"],
                                name="gearmanny_jobs_children",
                            ),
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(
                                    ("unique_key__isnull", False),
                                    ("state__in", ["queued", "running"]),
                                ),
                                fields=("function", "unique_key"),
                                name="gearmanny_jobs_unique",
                            ),
                            models.UniqueConstraint(
                                condition=models.Q(
                                    ("unique_waiting_key__isnull", False), ("state", "queued")
                                ),
                                fields=("function", "unique_waiting_key"),
                                name="gearmanny_jobs_waiting",
                            ),
                        ],
                    },
                ),
            ],
        ),
    ]
