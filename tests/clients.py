"""Moved to `tests.support.clients`."""

from tests.support.clients import *  # noqa: F403
