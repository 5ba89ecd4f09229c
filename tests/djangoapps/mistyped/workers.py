"""Raises while it is imported."""

from gearmanny.worker import BaseWorker

BaseWorker.no_such_attribute  # noqa: B018
