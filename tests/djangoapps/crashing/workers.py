"""Cannot be set up."""

from gearmanny.worker import BaseWorker


class Crashing(BaseWorker):
    name = "crashing"

    def setUp(self):
        raise RuntimeError("cannot be set up")
