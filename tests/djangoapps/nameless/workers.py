"""A worker without a name."""

from gearmanny.worker import BaseWorker


class Nameless(BaseWorker):
    def task_add(self, a, b):
        return a + b
