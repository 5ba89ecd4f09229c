"""Imports a worker, to call it."""

from tests.djangoapps.good.workers import Good  # noqa: F401
