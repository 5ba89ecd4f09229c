"""Moved to `tests.support.postgres`."""

from tests.support.postgres import *  # noqa: F403
