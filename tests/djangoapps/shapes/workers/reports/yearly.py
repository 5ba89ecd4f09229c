"""A worker further down, and one that is imported and named."""

from gearmanny.worker import BaseWorker
from tests.djangoapps.good.workers import Other

__all__ = ["Other", "Yearly"]


class Yearly(BaseWorker):
    name = "yearly"

    def task_sum(self, year):
        return year
