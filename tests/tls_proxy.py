"""Moved to `tests.support.tls`."""

from tests.support.tls import *  # noqa: F403
