"""Two workers of one name."""

from gearmanny.worker import BaseWorker


class Some(BaseWorker):
    name = "clashing"


class Another(BaseWorker):
    name = "clashing"
