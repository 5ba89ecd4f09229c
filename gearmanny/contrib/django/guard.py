"""Keeps tests of a project from calling real job servers by mistake: with the clients of the
project, and with others. Importing this does it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from gearmanny.net.hosts import Host
from gearmanny.net.permission import permission

_HINT = (
    "This test calls the job server {host}, because nothing has prepared it for calls. Use the "
    "fixture gearman_eager or gearman_worker, or gearmanny.contrib.django.testing.eager(), or "
    "start a job server in the test. For the clients of the project, GEARMANNY['EAGER'] may be "
    "True in the settings of the tests. To let tests call real job servers, set "
    "GEARMANNY['LIVE_IN_TESTS'] to True."
)


class _Overrides:
    """How often the setting is overridden at the moment: whoever does that has prepared a test."""

    def __init__(self) -> None:
        self.depth = 0


_overrides = _Overrides()


@receiver(setting_changed)
def _count(*, setting: str, enter: bool = True, **kwargs: Any) -> None:
    if setting == "GEARMANNY":
        _overrides.depth += 1 if enter else -1


def _check_call(host: Host) -> None:
    """Checks that a connection to a job server may be made.

    Args:
        host: the job server.

    Raises:
        AssertionError: a test makes it, with the settings of the project as they are.
    """
    if is_test() and not _overrides.depth:
        from gearmanny.contrib.django.settings import get_settings  # noqa: PLC0415  configured now

        if not get_settings().LIVE_IN_TESTS:
            raise AssertionError(_HINT.format(host=host))


def is_test() -> bool:
    """Returns whether Django's test environment is set up, as its test runner and pytest-django
    do."""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")


permission.require(_check_call)
