"""A worker that forgets what it derives from."""

from gearmanny.worker import BaseWorker


class Uninitialized(BaseWorker):
    name = "uninitialized"

    def __init__(self, *args, **kwargs):
        self.ready = True
