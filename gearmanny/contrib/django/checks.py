"""System checks of the setting `GEARMANNY`: docs/checks.md lists them. They connect to nothing."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from gearmanny.contrib.django.settings import HYGIENE, get_settings


@register("gearmanny")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the settings are valid, and that tasks get healthy database connections."""
    problem = ""
    try:
        hooks = get_settings().hooks()
        get_settings().CACHE.washer()
        get_settings().CACHE.json_encoder()
    except ImproperlyConfigured as error:
        problem = str(error)
    if problem:
        return [
            Error(
                problem,
                hint="The keys and their values are listed in gearmanny.contrib.django.settings.",
                id="gearmanny.E001",
            )
        ]
    if import_string(HYGIENE) in hooks:
        return []
    return [
        Warning(
            f"GEARMANNY['HOOKS'] does not contain {HYGIENE!r}: tasks may get database connections "
            "that are broken or too old, and under DEBUG the log of queries grows with every job.",
            hint="Add it as the first hook. If no task uses a database, silence this warning.",
            id="gearmanny.W003",
        )
    ]


@register("gearmanny", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Checks that no setting for tests or for development is on."""
    try:
        settings = get_settings()
    except ImproperlyConfigured:  # reported by E001
        return []
    messages: list[CheckMessage] = []
    if settings.EAGER:
        messages.append(
            Warning(
                "GEARMANNY['EAGER'] is set to True: calls run their tasks in the process that "
                "makes them.",
                hint="Set it in the settings of your tests only.",
                id="gearmanny.W001",
            )
        )
    if settings.EMBEDDED:
        messages.append(
            Warning(
                "GEARMANNY['EMBEDDED'] is set to True: a job server that runworkers starts ends "
                "with it, and loses all of its jobs.",
                hint="Remove the key, and run gearmand.",
                id="gearmanny.W002",
            )
        )
    return messages
