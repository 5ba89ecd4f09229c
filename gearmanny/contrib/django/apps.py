"""The app's configuration: it registers the checks, and connects to nothing."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class GearmannyConfig(AppConfig):
    """`gearmanny.contrib.django` in INSTALLED_APPS."""

    name = "gearmanny.contrib.django"
    label = "gearmanny"
    verbose_name = gettext_lazy("Gearman workers")

    def ready(self) -> None:
        from gearmanny.contrib.django import checks, guard  # noqa: F401, PLC0415  register themselves
