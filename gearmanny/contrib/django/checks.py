"""System checks. They look at the settings and connect to nothing."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from gearmanny.contrib.django.settings import HYGIENE, get_settings


@register("gearmanny")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """gearmanny.E001: GEARMANNY has an unknown key or a value that cannot be.
    gearmanny.W002: its HOOKS leave broken database connections to the tasks."""
    try:
        get_settings().CACHE.washer()
        hooks = get_settings().hooks()
    except (ImproperlyConfigured, ImportError) as error:
        return [
            Error(
                str(error),
                hint="The keys and their values are listed in gearmanny.contrib.django.settings.",
                id="gearmanny.E001",
            )
        ]
    if import_string(HYGIENE) in hooks:
        return []
    return [
        Warning(
            f"GEARMANNY['HOOKS'] is without {HYGIENE!r}: tasks get database connections that "
            "broke or are too old, and the log of queries grows under DEBUG.",
            hint="Add it as the first, or silence this where no task uses a database.",
            id="gearmanny.W002",
        )
    ]


@register("gearmanny", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """gearmanny.W001, gearmanny.W002: what is for tests and for development is on."""
    try:
        settings = get_settings()
    except ImproperlyConfigured:  # told by E001
        return []
    messages: list[CheckMessage] = []
    if settings.EAGER:
        messages.append(
            Warning(
                "GEARMANNY['EAGER'] is on: jobs run in the processes of the site.",
                hint="Set it in the settings of the tests only.",
                id="gearmanny.W001",
            )
        )
    if settings.EMBEDDED:
        messages.append(
            Warning(
                "GEARMANNY['EMBEDDED'] is on: the job server may end with runworkers, and all of "
                "its jobs with it.",
                hint="Leave it out, and run gearmand.",
                id="gearmanny.W002",
            )
        )
    return messages
