"""Moved to `tests.support.servers`."""

from tests.support.servers import *  # noqa: F403
