"""A worker with an atomic task."""

from gearmanny.worker import BaseWorker, task


class AtomicWriter(BaseWorker):
    name = "atomic"

    @task(atomic=True)
    def task_write(self, name: str) -> None:
        """Writes a row."""
