"""Keeps tests of a project from calling its real job servers by mistake."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.dispatch import receiver

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.connections import SocketDialer
from gearmanny.net.hosts import Host, Servers

if TYPE_CHECKING:
    from gearmanny.calling.handover import JobHandOver
    from gearmanny.calling.options import CallOptions
    from gearmanny.payload.encoding import Encoder
    from gearmanny.records.contract import HandOver
    from gearmanny.records.values import Submitted

_HINT = (
    "This test calls the job server {host} of the project, because nothing has prepared it for "
    "calls. Set GEARMANNY['EAGER'] to True in the settings of the tests, or use the fixture "
    "gearman_eager or gearman_worker, or gearmanny.contrib.django.testing.eager(). To let tests "
    "call the job servers of GEARMANNY['HOSTS'], set GEARMANNY['LIVE_IN_TESTS'] to True."
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


def check_call(host: Host) -> None:
    """Checks that a connection to a job server of the project may be made.

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


def guarded(ordinary: JobHandOver) -> HandOver:
    """Returns what hands over recorded jobs, and checks in tests that it may.

    Args:
        ordinary: does it without a check.
    """

    def hand_over(jobs: Sequence[Submitted]) -> None:
        check_call(ordinary.servers.hosts[0])
        ordinary(jobs)

    return hand_over if is_test() else ordinary


class GuardedDialer(SocketDialer):
    """Makes the connections of the blocking clients of a project."""

    def hand_over(
        self, ordinary: JobHandOver, encoder: type[Encoder], options: CallOptions
    ) -> HandOver | None:
        return guarded(ordinary)

    def dial(self, host: Host, servers: Servers, timeout: float) -> Channel:
        check_call(host)
        return super().dial(host, servers, timeout)


GUARDED = GuardedDialer()
