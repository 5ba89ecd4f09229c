"""A hook that a project may have."""

from contextlib import contextmanager

from gearmanny.hooks import RejectJob


@contextmanager
def only_pids(job):
    if not job.task.endswith("_pid"):
        raise RejectJob(f"{job.task} is not wanted here")
    yield
