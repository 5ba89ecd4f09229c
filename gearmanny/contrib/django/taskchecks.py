"""The system check of the setting `TASKS`, in the place of Django's: that one raises where a
backend cannot be imported or made, and so nothing else is checked."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.checks.registry import registry

from gearmanny.contrib.django.compat import task_backends


def replace_check() -> None:
    """Replaces the check of Django's Tasks, or of the package django-tasks."""
    package = type(task_backends).__module__
    theirs = import_module(f"{package}.checks").check_tasks
    registry.registered_checks.discard(theirs)
    register(check_backends)


def check_backends(**kwargs: Any) -> list[CheckMessage]:
    """Checks all backends, as Django does, and that each can be made.

    Args:
        kwargs: more of what Django says.
    """
    messages: list[CheckMessage] = []
    for alias in task_backends:
        try:
            messages += task_backends[alias].check()
        except Exception as error:
            messages.append(
                Error(
                    f"TASKS[{alias!r}] is not a backend: {type(error).__name__}: {error}",
                    hint="It is a dict whose BACKEND is the dotted path of a class, such as "
                    "'gearmanny.contrib.django.tasks.GearmanBackend'.",
                    id="gearmanny.E014",
                )
            )
    return messages
