"""The app's configuration: it registers the checks, and connects to nothing."""

from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy


class GearmannyConfig(AppConfig):
    """`gearmanny.contrib.django` in INSTALLED_APPS."""

    name = "gearmanny.contrib.django"
    label = "gearmanny"
    verbose_name = gettext_lazy("Gearman workers")

    def ready(self) -> None:
        from gearmanny.contrib.django import (  # noqa: PLC0415  register themselves
            checks,  # noqa: F401
            guard,  # noqa: F401
            recordchecks,  # noqa: F401
            taskthread,  # noqa: F401
        )

        has_tasks = find_spec("django.tasks") or apps.is_installed("django_tasks")
        if settings.is_overridden("TASKS") and has_tasks:
            from gearmanny.contrib.django.taskchecks import replace_check  # noqa: PLC0415

            replace_check()

        post_migrate.connect(_name_store, sender=self)


def _name_store(**kwargs: Any) -> None:
    from gearmanny.contrib.django.schema import name_store  # noqa: PLC0415

    name_store(**kwargs)
