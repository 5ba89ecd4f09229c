"""Moved to `tests.support.memory`."""

from tests.support.memory import *  # noqa: F403
