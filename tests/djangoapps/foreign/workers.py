"""A worker whose functions have letters that not every terminal can print."""

from gearmanny.worker import BaseWorker


class Foreign(BaseWorker):
    name = "пошта"

    def task_send(self):
        return None
